"""What a method is asked of each batch of a data set, and what its scores hang on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine import store
from captum._engine.errors import describe, wrong
from captum._engine.model import device_of, replica
from captum._engine.nest import map_tensors, tensors
from captum._engine.plan import Plan, rows_of
from captum._engine.shards import Rows
from captum._engine.target import as_tensor
from captum.attr.base import Attribution
from captum.attr.dataset_store import TARGET, flattened

LABELS, _PREDICTIONS = "labels", "predictions"


@dataclass
class Asking:
    """A method, and what it is asked of each batch."""

    method: Attribution
    target: Any
    inputs: Callable[[Any], Any] | None
    seed: int
    kwargs: Mapping[str, Any]
    form: Any = field(default=None, init=False)  # of what the method returns

    def rows(self, start: int, batches: list[Any]) -> Rows:
        """The scores of some batches, and their targets."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed + start)
            parts = [self.one(batch) for batch in batches]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def about(self, plan: Plan) -> dict[str, Any]:
        """What scores hang on."""
        return {
            "kind": "attributions",
            "method": self._named(),
            "parameters": {name: _said(value) for name, value in self.kwargs.items()},
            "target": _said(self.target),
            "model": self._state(),
            "seed": self.seed,
            **plan.about(),
        }

    def keep_form(self, folder: Path) -> None:
        """Write down how scores are arranged, once."""
        path = folder / "form.json"
        if not path.exists():
            store.write_json(path, {"form": self.form})

    def one(self, batch: Any) -> Rows:
        given, labels = self._read(batch)
        given, labels = self._there(given), self._there(labels)
        count = rows_of(given)
        target = self._target(given, labels)
        made = self.method.attribute(given, **({} if target is None else {"target": target}),
                                     **self.kwargs)  # fmt: skip
        self.form, rows = flattened(made)
        for name, values in rows.items():
            if values.ndim == 0 or len(values) != count:
                raise wrong(
                    ValueError,
                    f"scores with a row for each of the {count} examples",
                    f"{name}: {describe(values)}",
                    "a method that explains examples one by one",
                )
        if isinstance(target, Tensor):
            rows[TARGET] = target.detach().cpu()
        return rows

    def _there(self, value: Any) -> Any:
        """Where the model is."""
        if not isinstance(self.model, nn.Module):
            return value
        device = device_of(self.model)
        return map_tensors(lambda t: t.to(device), value)

    def _read(self, batch: Any) -> tuple[Any, Tensor | None]:
        """Inputs, and labels where there are some."""
        if isinstance(batch, Mapping):
            labels = batch.get(LABELS)
            given: Any = {k: v for k, v in batch.items() if k != LABELS}
        elif isinstance(batch, tuple | list):
            last = batch[-1]
            labelled = (
                len(batch) > 1
                and isinstance(last, Tensor)
                and last.ndim == 1
                and not last.is_floating_point()
            )
            labels = last if labelled else None
            rest = tuple(batch[:-1] if labelled else batch)
            given = rest[0] if len(rest) == 1 else rest
        else:
            given, labels = batch, None
        return (given if self.inputs is None else self.inputs(batch)), labels

    def _target(self, given: Any, labels: Tensor | None) -> Any:
        if not isinstance(self.target, str):
            return self.target
        if self.target == LABELS:
            if labels is None:
                raise wrong(
                    ValueError, "batches with labels", describe(given), "target='predictions'"
                )
            return labels
        if self.target == _PREDICTIONS:
            with torch.no_grad():
                args = given if isinstance(given, tuple) else (given,)
                model = replica(self.model)
                output = model(**given) if isinstance(given, Mapping) else model(*args)
            return as_tensor(output).argmax(1)
        raise wrong(
            ValueError,
            f"target={LABELS!r}, {_PREDICTIONS!r}, or what `attribute` takes",
            repr(self.target),
            f"target={LABELS!r}",
        )

    @property
    def model(self) -> Callable[..., Any]:
        """What is explained."""
        inner = getattr(self.method, "attribution_method", self.method)
        model: Callable[..., Any] = inner.forward_func
        return model

    def _named(self) -> str:
        inner = getattr(self.method, "attribution_method", None)
        name = type(self.method).__name__
        return name if inner is None else f"{name}({type(inner).__name__})"

    def _state(self) -> str:
        model = self.model
        return store.digest_of_model(model) if isinstance(model, nn.Module) else _said(model)


def _said(value: Any) -> str:
    """A parameter in words that change with it."""
    if any(True for _ in tensors(value)):
        return f"tensors {store.digest(value)}"
    if callable(value):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    return repr(value)
