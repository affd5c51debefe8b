"""How much of a language model's work one pass may hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from captum._engine.batching import out_of_memory
from captum.attr.llm.scoring.language_model import LanguageModel

_TOKENS = {"cpu": 1024}  # of a pass: more of them are no faster
_TOKENS_ELSEWHERE = 1 << 16
_LOGIT_BYTES = {"cpu": 64 << 20}  # of a pass
_LOGIT_BYTES_ELSEWHERE = 1 << 30
_NODES = {"cpu": 256}  # of a tree in a pass
_NODES_ELSEWHERE = 2048


class Budget:
    """Tokens, logits and nodes of a pass; all are halved where that was too much."""

    def __init__(self, model: LanguageModel) -> None:
        kind = model.device.type
        self.tokens = _TOKENS.get(kind, _TOKENS_ELSEWHERE)
        self.nodes = _NODES.get(kind, _NODES_ELSEWHERE)
        logits = _LOGIT_BYTES.get(kind, _LOGIT_BYTES_ELSEWHERE)
        self.positions = max(1, logits // (4 * model.vocabulary))

    def batches(self, lengths: Sequence[int], target: int) -> Iterator[list[int]]:
        """Rows of much the same length, as many as fit into a pass; the longest first."""
        most = max(1, self.positions // target)
        batch: list[int] = []
        for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
            full = (len(batch) + 1) * lengths[batch[0] if batch else i] > self.tokens
            if batch and (full or len(batch) == most):
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch

    def halve(self, error: RuntimeError) -> None:
        """Make passes smaller after one that ran out of memory; other errors are the user's."""
        if not out_of_memory(error) or self.tokens < 2:
            raise error
        self.tokens //= 2
        self.nodes = max(1, self.nodes // 2)
        self.positions = max(1, self.positions // 2)
