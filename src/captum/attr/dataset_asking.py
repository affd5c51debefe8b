"""What a method is asked of each batch of a data set, and what its scores hang on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captum._engine import store
from captum._engine.call import make_call
from captum._engine.errors import describe, wrong
from captum._engine.model import device_of, inside, modules_behind, replica
from captum._engine.nest import map_tensors
from captum._engine.plan import rows_of
from captum._engine.shards import Rows
from captum._engine.target import as_tensor
from captum._engine.words import Words
from captum.attr.base import Attribution
from captum.attr.dataset_store import TARGET, flattened, joined

LABELS, _PREDICTIONS = "labels", "predictions"
_MODEL = "the model"
_CLASSES = 2  # dimensions of outputs (N, C)


@dataclass
class Asking:
    """A method, and what it is asked of each batch."""

    method: Attribution
    target: Any
    inputs: Callable[[Any], Any] | None
    arguments: Callable[[Any], Mapping[str, Any]] | None
    seed: int
    kwargs: Mapping[str, Any]
    form: Any = field(default=None, init=False)  # of what the method returns

    def __post_init__(self) -> None:
        inner = getattr(self.method, "attribution_method", self.method)
        if not isinstance(inner, Attribution) or not hasattr(inner, "forward_func"):
            raise wrong(
                TypeError,
                "an attribution method, whose scores have a row for each example",
                describe(self.method),
                "attribute_dataset(IntegratedGradients(model), loader, 'scores')",
            )
        self._modules = modules_behind(self.model)

    def rows(self, start: int, batches: list[Any]) -> Rows:
        """The scores of some batches, and their targets."""
        begun = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # of torch
        devices = range(torch.cuda.device_count()) if begun else ()
        with torch.random.fork_rng(devices):
            drawn = np.random.SeedSequence((int(self.seed) % 2**64, start))
            torch.manual_seed(int(drawn.generate_state(1, np.uint64)[0]))
            parts = [self.one(batch) for batch in batches]
        return joined(parts, "inputs of one length; or block=1, and parts()")

    def count(self, batch: Any) -> int:
        """How many examples are explained of a batch."""
        return rows_of(self._read(batch)[0])

    def about(self) -> dict[str, Any]:
        """What scores hang on, but for the data."""
        model = self.model
        training = False
        state = [] if isinstance(model, nn.Module) else [Words({}).of(model)]
        names: dict[int, str] = {}
        for module in self._modules:
            state.append(store.digest_of_model(module))
            training |= any(each.training for each in inside(module).modules())
            names |= {id(each): name for name, each in inside(module).named_modules()}
        words = Words(names | {id(model): _MODEL})
        settings = words.held(self.method).items()
        return {
            "kind": "attributions",
            "method": type(self.method).__name__,
            "settings": {name.strip("_"): said for name, said in settings if said != _MODEL},
            "parameters": {name: words.of(value) for name, value in self.kwargs.items()},
            "inputs": words.of(self.inputs),
            "arguments": words.of(self.arguments),
            "target": words.of(self.target),
            "model": state,
            "training": training,
            "seed": int(self.seed),
        }

    def one(self, batch: Any) -> Rows:
        given, labels = map(self._there, self._read(batch))
        count = rows_of(given)
        options = dict(self.kwargs)
        if self.arguments is not None:
            options |= self._there(dict(self.arguments(batch)))
        target = self._target(given, labels, options)
        if target is not None:
            options["target"] = target
        target = options.get("target")
        made = self.method.attribute(given, **options)
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
        if not self._modules:
            return value
        device = device_of(self._modules[0])
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

    def _target(self, given: Any, labels: Tensor | None, options: Mapping[str, Any]) -> Any:
        if not isinstance(self.target, str):
            return self.target
        if self.target == LABELS:
            if labels is None:
                raise wrong(
                    ValueError,
                    "labels (N,), integers: the last of a tuple, or under the key 'labels'",
                    describe(given),
                    "target='predictions'",
                )
            return labels
        if self.target == _PREDICTIONS:
            extra = (options.get(name) for name in ("additional_forward_args", "forward_kwargs"))
            call = make_call(self.model, given, None, *extra)
            args, kwargs = call.bind(call.inputs)
            with torch.no_grad():
                output = as_tensor(replica(self.model)(*args, **kwargs))
            if output.ndim != _CLASSES:
                got = f"an output {tuple(output.shape)}"
                raise wrong(ValueError, "outputs (N, C), the largest of C", got, "target=0")
            return output.argmax(1)
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
