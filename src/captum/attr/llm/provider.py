"""Language models on a server: what they answer, and how likely a text is to them."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from captum._engine.errors import describe, extra, wrong
from captum.attr.llm import tokens
from captum.attr.llm.tokens import Ids, Tokenizer

RemotePrompt = str | Ids

_TIMEOUT = 60.0  # seconds
_RETRIES = 3
_PROMPTS = 32  # in a request
_AT_ONCE = 4  # requests


class RemoteLLMProvider(ABC):
    """A language model on a server that tells the probabilities of a text's tokens.

    To use a server of your own, subclass it; `score` may be overridden to ask for many at once.

    >>> from captum.attr import RemoteLLMProvider
    >>> class Fair(RemoteLLMProvider):
    ...     def generate(self, prompt, **gen_args):
    ...         return "the cat"
    ...     def get_logprobs(self, input_prompt, target_str, tokenizer=None):
    ...         return [-1.0 for _ in target_str.split()]
    >>> Fair().get_logprobs("a dog", "the cat")
    [-1.0, -1.0]
    """

    api_url: str

    @abstractmethod
    def generate(self, prompt: str, **gen_args: Any) -> str:
        """What the model goes on with after a prompt."""

    @abstractmethod
    def get_logprobs(
        self, input_prompt: str, target_str: str, tokenizer: Tokenizer | None = None
    ) -> list[float]:
        """log p of each of the target's T tokens after the prompt."""

    def score(
        self, prompts: Sequence[RemotePrompt], target: Ids, tokenizer: Tokenizer
    ) -> list[list[float]]:
        """The same for K prompts, as text or token ids: K lists of T numbers."""
        text = tokenizer.decode(target.tolist())
        return [
            self.get_logprobs(
                p if isinstance(p, str) else tokens.text(tokenizer, p), text, tokenizer
            )
            for p in prompts
        ]

    def answer(
        self, prompt: RemotePrompt, tokenizer: Tokenizer, gen_args: Mapping[str, Any]
    ) -> str:
        """What the model goes on with after a prompt, as text or token ids."""
        text = prompt if isinstance(prompt, str) else tokens.text(tokenizer, prompt)
        return self.generate(text, **gen_args)


class VLLMProvider(RemoteLLMProvider):
    """A vLLM server, or another with OpenAI's API that tells prompts' log-probabilities.

    Prompts are sent as token ids, many in a request, so that prompt and target are never encoded
    together into other tokens. Failed requests are sent again, later each time.

    Args:
        api_url: where the API is: "http://localhost:8000/v1".
        model_name: one of the server's models; the first by default.
        timeout: seconds to wait for an answer.
        max_retries: how often a request is sent again.
        prompts_per_request: how many prompts are sent together.
        concurrency: how many requests wait for their answer at once.

    The environment variable OPENAI_API_KEY is sent as the key; "EMPTY" where there is none.

    Raises:
        ImportError: the package openai is missing.
        ConnectionError: no answer.
        ValueError: no URL; a model that the server does not have; an answer that makes no sense.
    """

    def __init__(
        self,
        api_url: str,
        model_name: str | None = None,
        *,
        timeout: float = _TIMEOUT,
        max_retries: int = _RETRIES,
        prompts_per_request: int = _PROMPTS,
        concurrency: int = _AT_ONCE,
    ) -> None:
        if not api_url:
            raise wrong(ValueError, "a URL", repr(api_url), "'http://localhost:8000/v1'")
        self._openai: Any = extra("openai", "remote")
        self.api_url = api_url
        self.prompts_per_request, self.concurrency = prompts_per_request, concurrency
        self.client = self._openai.OpenAI(
            base_url=api_url,
            api_key=os.environ.get("OPENAI_API_KEY") or "EMPTY",
            timeout=timeout,
            max_retries=max_retries,
        )
        reply = self._ask(self.client.models.with_raw_response.list)
        models = [str(model["id"]) for model in self._field(reply, "data")]
        if not models or model_name not in (None, *models):
            raise wrong(
                ValueError, f"one of the server's models, {models}", repr(model_name), "None"
            )
        self.model_name = model_name or models[0]

    def generate(self, prompt: str, **gen_args: Any) -> str:
        """What the model goes on with after a prompt.

        Args:
            prompt: the text.
            gen_args: of the API; max_new_tokens is max_tokens, 25 by default.
        """
        return self._generate(prompt, gen_args)

    def answer(
        self, prompt: RemotePrompt, tokenizer: Tokenizer, gen_args: Mapping[str, Any]
    ) -> str:
        """What the model goes on with after a prompt, as text or token ids."""
        ids = tokens.encode(tokenizer, prompt) if isinstance(prompt, str) else prompt
        return self._generate(ids.tolist(), gen_args)

    def _generate(self, prompt: str | list[int], gen_args: Mapping[str, Any]) -> str:
        gen_args = dict(gen_args)
        options = {"max_tokens": gen_args.pop("max_new_tokens", 25), **gen_args}
        sampling = options.pop("do_sample", None)
        if sampling is False:
            options["temperature"] = 0.0
        options = {name: value for name, value in options.items() if value is not None}
        (choice,) = self._complete(prompt, 1, **options)
        text: str = self._field(choice, "text")
        return text

    def get_logprobs(
        self, input_prompt: str, target_str: str, tokenizer: Tokenizer | None = None
    ) -> list[float]:
        """log p of each of the target's T tokens after the prompt.

        Args:
            input_prompt: the text in front.
            target_str: the text whose tokens are asked about.
            tokenizer: the model's.

        Raises:
            ConnectionError: no answer.
            ValueError: no tokenizer or target; an answer that makes no sense.
        """
        if tokenizer is None:
            raise wrong(ValueError, "the model's tokenizer", "None", "tokenizer=tokenizer")
        ids = tokens.encode(tokenizer, input_prompt)
        target = tokens.target_ids(tokenizer, input_prompt, ids, target_str)
        return self.score([ids], target, tokenizer)[0]

    def score(
        self, prompts: Sequence[RemotePrompt], target: Ids, tokenizer: Tokenizer
    ) -> list[list[float]]:
        """log p of the target's T tokens after each of K prompts, as text or token ids."""
        rows = [tokens.encode(tokenizer, p) if isinstance(p, str) else p for p in prompts]
        whole = [[*row.tolist(), *target.tolist()] for row in rows]
        size = self.prompts_per_request
        requests = [whole[i : i + size] for i in range(0, len(whole), size)]
        with ThreadPoolExecutor(self.concurrency) as pool:
            replies = pool.map(lambda request: self._score(request, target.tolist()), requests)
            return [row for reply in replies for row in reply]

    def _score(self, rows: list[list[int]], target: list[int]) -> list[list[float]]:
        # A token more is generated, as servers refuse to generate none.
        options = {"max_tokens": 1, "temperature": 0.0, "extra_body": {"prompt_logprobs": 0}}
        choices = self._complete(rows, len(rows), **options)
        found = []
        for row, choice in zip(rows, choices, strict=True):
            chances = self._field(choice, "prompt_logprobs")
            if not isinstance(chances, list) or len(chances) != len(row):
                raise self._senseless(f"a log-probability for each of {len(row)} tokens", chances)
            tail = zip(target, chances[len(row) - len(target) :], strict=True)
            found.append([self._chance(at, token) for token, at in tail])
        return found

    def _chance(self, at: Any, token: int) -> float:
        """log p of a token in what the server says of its position."""
        try:
            return float(at[str(token)]["logprob"])
        except (TypeError, KeyError, ValueError):
            raise self._senseless(f"the log-probability of token {token}", at) from None

    def _complete(self, prompt: Any, count: int, **options: Any) -> list[Any]:
        """The answers to one or several prompts, in their order."""
        create = self.client.completions.with_raw_response.create
        reply = self._ask(lambda: create(model=self.model_name, prompt=prompt, **options))
        choices = self._field(reply, "choices")
        if not isinstance(choices, list) or len(choices) != count:
            raise self._senseless(f"{count} choices", choices)
        return sorted(choices, key=lambda choice: int(self._field(choice, "index")))

    def _ask(self, request: Any) -> Any:
        """The JSON in the answer to a request."""
        try:
            text = request().text
            text = text() if callable(text) else text
        except (self._openai.APIConnectionError, self._openai.APIStatusError) as error:
            raise ConnectionError(
                f"expected an answer of {self.api_url}\n  got:   {error}\n"
                "  works: a server that runs, with this model and enough time: VLLMProvider(url, "
                "timeout=120)"
            ) from error
        try:
            return json.loads(text)
        except ValueError:
            raise self._senseless("JSON", text) from None

    def _field(self, reply: Any, name: str) -> Any:
        if not isinstance(reply, dict) or name not in reply:
            raise self._senseless(f"the field {name!r}", reply)
        return reply[name]

    def _senseless(self, expected: str, reply: Any) -> ValueError:
        return wrong(
            ValueError,
            f"{expected} in the answer of {self.api_url}",
            describe(reply),
            "a server with OpenAI's API and prompt_logprobs, as vLLM has",
        )
