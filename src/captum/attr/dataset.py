"""Attribution of a whole data set: in files that resume, on as many processes as there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine import store
from captum._engine.errors import describe, wrong
from captum._engine.nest import tensors
from captum._engine.plan import Plan, rows_of
from captum._engine.progress import Progress
from captum._engine.ranks import World
from captum._engine.shards import Rows, Shards
from captum._engine.target import as_tensor
from captum.attr.base import Attribution
from captum.attr.dataset_store import TARGET, Attributions, flattened, summarise
from captum.attr.summary import Summarizer

_LABELS, _PREDICTIONS = "labels", "predictions"


def attribute_dataset(
    method: Attribution,
    data: Iterable[Any],
    out: str | Path | None = None,
    target: Any = None,
    *,
    summarizer: Summarizer | None = None,
    inputs: Callable[[Any], Any] | None = None,
    block: int = 1024,
    seed: int = 0,
    show_progress: bool = False,
    **kwargs: Any,
) -> Attributions | None:
    """Scores of all examples of a data set, in files of a folder; or running statistics alone.

    A run that was stopped, at any moment, goes on after the files that are whole. Under `torchrun`
    the processes share the work by themselves, on a folder that all of them see. Scores that are
    drawn at random hang on `seed` and the example's place, not on who draws them or when.

    Args:
        method: any attribution method whose scores have a row for each example.
        data: a DataLoader in the data's order, or an iterable of batches: tensors (N, *F), dicts,
            or tuples of inputs, whose last member is left out where it is integers (N,): labels.
        out: the folder. None keeps nothing but the statistics.
        target: as for `attribute`; or "labels", of the batches, or "predictions", the largest
            output of each example.
        summarizer: statistics to update with the scores of every example.
        inputs: of a batch: what is explained, where it is not as above.
        block: examples of a file, up to whole batches.
        seed: of what methods draw.
        show_progress: a progress bar of examples.
        kwargs: for `attribute`.

    Raises:
        ValueError: a folder of other scores, or a broken file in it; a loader that shuffles;
            nothing to keep scores or statistics in.
        RuntimeError: another process was lost. What is written stays: run it again.

    >>> import tempfile
    >>> import torch
    >>> from captum.attr import Saliency, attribute_dataset
    >>> model = torch.nn.Linear(3, 2)
    >>> batches = torch.randn(10, 3).split(4)
    >>> found = attribute_dataset(Saliency(model), batches, tempfile.mkdtemp(), target=0)
    >>> len(found), torch.equal(found[9], model.weight[0].abs())
    (10, True)
    """
    world = World.now()
    if block < 1:
        raise wrong(ValueError, "block of at least 1", repr(block), "block=1024")
    if out is None and (summarizer is None or world.size > 1):
        raise wrong(
            ValueError,
            "a folder; or a summarizer, in a single process",
            f"out=None in {world.size} processes",
            "attribute_dataset(method, loader, out='scores')",
        )
    plan = Plan.of(data, block)
    asking = _Asking(method, target, inputs, seed, kwargs)
    progress = Progress(f"{method.get_name()}, a data set", show_progress)
    if out is None:
        assert summarizer is not None  # for mypy: refused above
        for start, batches in plan.chosen(lambda *_: True):
            summarise(summarizer, asking.rows(start, batches), asking.form)
            progress.add(sum(map(rows_of, batches)))
        progress.close()
        return None
    folder = Path(out)
    shards = Shards(folder, asking.about(plan), clean=world.rank == 0)
    world.wait()

    def wanted(number: int, start: int, end: int) -> bool:
        return world.takes(number) and not shards.has(start, end)

    with world.watched():
        for start, batches in plan.chosen(wanted):
            shards.put(start, asking.rows(start, batches))
            asking.keep_form(folder)
            progress.add(sum(map(rows_of, batches)))
    progress.close()
    world.wait()
    found = Attributions(folder)
    if summarizer is not None:
        found.summarise(summarizer)
    return found


@dataclass
class _Asking:
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
            parts = [self._one(batch) for batch in batches]
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

    def _one(self, batch: Any) -> Rows:
        given, labels = self._read(batch)
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

    def _read(self, batch: Any) -> tuple[Any, Tensor | None]:
        """Inputs, and labels where there are some."""
        if isinstance(batch, Mapping):
            labels = batch.get(_LABELS)
            given: Any = {k: v for k, v in batch.items() if k != _LABELS}
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
        if self.target == _LABELS:
            if labels is None:
                raise wrong(
                    ValueError, "batches with labels", describe(given), "target='predictions'"
                )
            return labels
        if self.target == _PREDICTIONS:
            with torch.no_grad():
                args = given if isinstance(given, tuple) else (given,)
                model = self._model()
                output = model(**given) if isinstance(given, Mapping) else model(*args)
            return as_tensor(output).argmax(1)
        raise wrong(
            ValueError,
            f"target={_LABELS!r}, {_PREDICTIONS!r}, or what `attribute` takes",
            repr(self.target),
            f"target={_LABELS!r}",
        )

    def _model(self) -> Callable[..., Any]:
        inner = getattr(self.method, "attribution_method", self.method)
        model: Callable[..., Any] = inner.forward_func
        return model

    def _named(self) -> str:
        inner = getattr(self.method, "attribution_method", None)
        name = type(self.method).__name__
        return name if inner is None else f"{name}({type(inner).__name__})"

    def _state(self) -> str:
        model = self._model()
        return store.digest_of_model(model) if isinstance(model, nn.Module) else _said(model)


def _said(value: Any) -> str:
    """A parameter in words that change with it."""
    if any(True for _ in tensors(value)):
        return f"tensors {store.digest(value)}"
    if callable(value):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    return repr(value)
