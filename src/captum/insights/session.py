"""The conversation with a front end: JSON messages in, JSON messages out.

`{"id", "kind", ...}` is answered by any number of `{"id", "progress"}` and one `{"id", "ok"}` or
`{"id", "error"}`. Notebook, page and file carry these messages; they know nothing of what is in
them.
"""

from __future__ import annotations

import math
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from captum._engine.errors import wrong
from captum._engine.model import owner
from captum.insights.answers import Prediction, Question
from captum.insights.calculation import Calculation
from captum.insights.fields import FieldsError
from captum.insights.saved import page

Reply = Callable[[dict[str, Any]], None]
_LOOK_AT = 1000  # examples that one message may look through: data sets may be endless
_TELL_EVERY = 20
_MOST = 100  # examples on a page
_ANSWERS: dict[str, Callable[[Sequence[Prediction], int], bool]] = {
    "all": lambda said, model: True,
    "right": lambda said, model: said[model].right is True,
    "wrong": lambda said, model: said[model].right is False,
    "disagree": lambda said, model: len({each.best.index for each in said}) > 1,
}


class Session:
    """Answers a front end's messages, one at a time.

    Args:
        calculation: who knows the answers.
        debug: whether an error tells where it came from.

    >>> import torch
    >>> from captum.insights import Batch
    >>> from captum.insights.features import GeneralFeature
    >>> data = [Batch(torch.ones(1, 2), torch.tensor([0]))]
    >>> session = Session(Calculation([torch.nn.Linear(2, 2)], ["a", "b"],
    ...                               [GeneralFeature("x", ["u", "v"])], data))
    >>> session.ask({"id": 7, "kind": "start"}, lambda said: print(said["id"], *said["ok"]))
    7 models classes features methods method notes labelled explains percent
    """

    def __init__(self, calculation: Calculation, debug: bool = False) -> None:
        self.calculation = calculation
        self.debug = debug
        self._alone = threading.RLock()  # models need not bear two calls at a time
        self._kinds: dict[str, Callable[[Mapping[str, Any], Reply], Any]] = {
            "start": self._start,
            "examples": self._examples,
            "check": self._check,
            "attribute": self._attribute,
            "export": self._export,
        }

    def ask(self, message: Any, reply: Reply) -> None:
        """Answer a message.

        Args:
            message: what the front end sent.
            reply: takes what is said back to it; an OSError from it ends the calculation.
        """
        known = message if isinstance(message, dict) else {}
        said: dict[str, Any] = {"id": known.get("id")}
        try:
            answer = self._kinds.get(str(known.get("kind")), self._unknown)
            # What a form holds is checked while something else is calculated.
            with nullcontext() if known.get("kind") == "check" else self._alone:
                said["ok"] = _plain(answer(known, lambda part: reply({**said, "progress": part})))
        except OSError:
            raise
        except Exception as error:  # whatever it is, who looks at the page has to see it
            said["error"] = self._told(error)
        reply(said)

    def start(self) -> dict[str, Any]:
        """What there is to choose from."""
        know = self.calculation
        offer = know.offered()
        return {
            "models": _names(know.models),
            "classes": [str(name) for name in know.classes],
            "features": [{"name": f.name, "type": f.visualization_type()} for f in know.features],
            "methods": offer.described(),
            "method": next(iter(offer.methods)),
            "notes": _notes(know.models),
            "labelled": know.examples[0].label is not None,
            "explains": "label" if know.use_label else "prediction",
            "percent": know.score_func is not None,
        }

    def example(self, number: int) -> dict[str, Any]:
        """What is known of an example before anybody asks why."""
        label = self.calculation.label(number)
        return {
            "id": number,
            "label": None if label is None else vars(label),
            "models": [
                {"scores": [vars(score) for score in said.scores], "right": said.right}
                for said in self.calculation.predictions(number)
            ],
            "features": [output._asdict() for output in self.calculation.shown(number)],
        }

    def answer(self, question: Question, reply: Reply | None = None) -> dict[str, Any]:
        """An answer as a front end takes it."""
        tell = None if reply is None else (lambda rows: reply({"rows": rows}))
        found = self.calculation.answer(question, tell)
        return found._asdict() | {"features": [output._asdict() for output in found.features]}

    def _start(self, message: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
        return self.start()

    def _examples(self, message: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
        """The next `count` examples from `start` on that pass the filter."""
        count, number = _count(message, "count", 4), _count(message, "start", 0)
        fits = self._filter(message.get("filter") or {})
        found: list[int] = []
        end = number + _LOOK_AT
        while len(found) < min(count, _MOST) and number < end:
            if self.calculation.examples.get(number) is None:
                return self._page(found, None)
            if fits(number):
                found.append(number)
            number += 1
            if number % _TELL_EVERY == 0:
                reply({"looked": number})
        more = self.calculation.examples.get(number) is not None
        return self._page(found, number if more else None)

    def _page(self, found: Sequence[int], following: int | None) -> dict[str, Any]:
        examples = [self.example(number) for number in found]
        return {"examples": examples, "next": following}

    def _filter(self, asked: Mapping[str, Any]) -> Callable[[int], bool]:
        """Whether an example is wanted: by its classes, and by who is right."""
        classes, by = set(asked.get("classes") or ()), str(asked.get("by", "either"))
        which, model = str(asked.get("answers", "all")), _count(asked, "model", 0)
        if which not in _ANSWERS or by not in ("label", "prediction", "either"):
            known = f"answers {', '.join(_ANSWERS)}; by label, prediction or either"
            raise wrong(ValueError, known, f"{which}; by {by}", '{"answers": "wrong"}')
        if model >= len(self.calculation.models):
            got = f"model {model}"
            raise wrong(ValueError, f"a model below {len(self.calculation.models)}", got, "model 0")

        def fits(number: int) -> bool:
            if which == "all" and not classes:
                return True
            said = self.calculation.predictions(number)
            label = self.calculation.examples[number].label
            best = said[model].best.index
            by_kind: dict[str, list[Any]] = {"label": [label], "prediction": [best]}
            of = by_kind.get(by, [label, best])
            return _ANSWERS[which](said, model) and (not classes or bool(classes.intersection(of)))

        return fits

    def _check(self, message: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
        """Whether the values of a form are good; they come back."""
        return self.calculation.offered().checked(message.get("method"), _given(message))

    def _attribute(self, message: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
        return self.answer(_question(message), reply)

    def _export(self, message: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
        """A page that needs nobody to answer it, of what was seen."""
        asked = message.get("questions")
        questions = [_question(each) for each in asked] if isinstance(asked, list) else []
        examples = [int(number) for number in message.get("examples") or ()]
        return {"name": "insights.html", "html": page(self, examples, questions, reply)}

    def _unknown(self, message: Mapping[str, Any], reply: Reply) -> Any:
        known, got = f"a message of kind {', '.join(self._kinds)}", repr(message.get("kind"))
        raise wrong(ValueError, known, got, '{"id": 1, "kind": "start"}')

    def _told(self, error: Exception) -> dict[str, Any]:
        told: dict[str, Any] = {"message": str(error) or type(error).__name__}
        if isinstance(error, FieldsError):
            told["fields"] = error.problems
        if self.debug:
            told["detail"] = "".join(traceback.format_exception(error))
        return told


def _question(message: Mapping[str, Any]) -> Question:
    numbers = (_count(message, "example", None), _count(message, "model", 0))
    method, target = message.get("method"), message.get("target")
    return Question(*numbers, str(method), _given(message), target)


def _given(message: Mapping[str, Any]) -> dict[str, Any]:
    fields = message.get("fields") or {}
    if not isinstance(fields, dict):
        raise wrong(ValueError, "fields by name", repr(fields), '{"fields": {"n_steps": 50}}')
    return fields


def _count(message: Mapping[str, Any], name: str, default: int | None) -> int:
    value = message.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise wrong(ValueError, f"{name} to be a number from 0 on", repr(value), f'"{name}": 0')
    return value


def _names(models: Sequence[Any]) -> list[str]:
    """What to call the models: their classes, numbered where two are the same."""
    names = [getattr(m, "__name__", type(m).__name__) for m in models]
    return [f"{n} {names[: i + 1].count(n)}" if names.count(n) > 1 else n
            for i, n in enumerate(names)]  # fmt: skip


def _notes(models: Sequence[Any]) -> list[str]:
    """What whoever looks should know."""
    modules = [owner(model) for model in models]
    training = [n for n, m in zip(_names(models), modules, strict=True) if m and m.training]
    text = "{} is in training mode: dropout and batch norm are at work. model.eval() ends that."
    return [text.format(name) for name in training]


def _plain(value: Any) -> Any:
    """The same as JSON has it: no NaN, no infinity, no tuples."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | None) else str(value)
