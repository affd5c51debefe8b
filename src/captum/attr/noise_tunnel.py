"""Noise tunnel: any method, averaged over noisy copies of the inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum._engine.call import Call, make_call, matched
from captum._engine.call import baselines as baselines_of
from captum._engine.errors import wrong
from captum._engine.nest import Tensors, map_tensors, replaced, scored
from captum._engine.sampling import Moments, blocks, check_samples, drawn, noisy, stdevs_of
from captum._engine.target import Targets
from captum.attr.base import Attribution, Scores


class NoiseTunnelType(Enum):
    """What is made of the noisy scores."""

    smoothgrad = 1
    smoothgrad_sq = 2
    vargrad = 3


_RESULTS: dict[str, Callable[[Moments], Tensor]] = {
    "smoothgrad": lambda moments: torch.as_tensor(moments.mean),
    "smoothgrad_sq": Moments.mean_square,
    "vargrad": Moments.variance,
}


class NoiseTunnel(Attribution):
    r"""Score = the mean, the mean square or the variance of a method's scores at x + N(0, stdev²).

    smoothgrad E[A(x̃)], smoothgrad_sq E[A(x̃)²], vargrad E[(A(x̃) - E[A(x̃)])²].

    Papers: Smilkov et al., SmoothGrad (2017), https://arxiv.org/abs/1706.03825; Hooker et al.
    (2019), https://arxiv.org/abs/1806.10758; Adebayo et al. (2018),
    https://arxiv.org/abs/1810.03307.

    Args:
        attribution_method: any attribution method, also one of your own, with its `attribute`.

    >>> import torch
    >>> from captum.attr import NoiseTunnel, Saliency
    >>> tunnel = NoiseTunnel(Saliency(lambda x: 3 * x.sum(1)))
    >>> tunnel.attribute(torch.ones(1, 2), nt_samples=4)
    tensor([[3., 3.]])
    """

    def __init__(self, attribution_method: Attribution) -> None:
        if not isinstance(attribution_method, Attribution):
            raise wrong(
                TypeError,
                "an attribution method",
                repr(attribution_method),
                "NoiseTunnel(Saliency(model))",
            )
        super().__init__(attribution_method.forward_func)
        self.attribution_method = attribution_method

    @property
    def multiplies_by_inputs(self) -> bool:
        return self.attribution_method.multiplies_by_inputs

    def has_convergence_delta(self) -> bool:
        return self.attribution_method.has_convergence_delta()

    def attribute(
        self,
        inputs: Any,
        nt_type: str = "smoothgrad",
        nt_samples: int = 5,
        nt_samples_batch_size: int | None = None,
        stdevs: float | tuple[float, ...] = 1.0,
        draw_baseline_from_distrib: bool = False,
        *,
        tol: float | None = None,
        return_std: bool = False,
        generator: torch.Generator | None = None,
        **kwargs: Any,
    ) -> Scores:
        """Scores in the shape of the method's own; then the deltas and errors asked for.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            nt_type: smoothgrad, smoothgrad_sq or vargrad.
            nt_samples: noisy copies per example.
            nt_samples_batch_size: copies handed to the method at a time; it splits them into
                passes by itself, so this changes memory, not numbers; only a method that draws
                at random itself then draws in another order.
            stdevs: standard deviation of the noise, for all inputs or one each.
            draw_baseline_from_distrib: `baselines` are rows (K, *F) to draw from.
            tol: stop once every standard error is at most tol times the largest mean score.
            return_std: also the standard errors of the mean scores.
            generator: see the glossary: where random numbers come from.
            kwargs: what the method's `attribute` takes: target, baselines, n_steps, ...

        Raises:
            ValueError: an unknown nt_type, or stdevs that do not fit.
        """
        name = str(getattr(nt_type, "name", nt_type))
        if name not in _RESULTS:
            known = ", ".join(_RESULTS)
            raise wrong(ValueError, f"an nt_type of {known}", repr(nt_type), "'smoothgrad'")
        most = nt_samples if nt_samples_batch_size is None else nt_samples_batch_size
        check_samples(nt_samples, "nt_samples")
        check_samples(most, "nt_samples_batch_size")
        call = make_call(self.forward_func, inputs)
        spread = stdevs_of(stdevs, call)
        with_delta = bool(kwargs.get("return_convergence_delta"))
        shared = getattr(self.attribution_method, "takes_distribution", False)
        found = _Found()
        for samples in blocks(nt_samples, call.inputs, stopping=tol is not None):
            noise = zip(call.inputs, spread, strict=True)
            rows = tuple(noisy(x, samples, s, generator) for x, s in noise)
            # Drawn for the whole block: the draws do not depend on the size of the passes.
            starts = None
            if draw_baseline_from_distrib:
                given = matched(call, kwargs["baselines"], "baselines") or ()
                starts = drawn(given, samples * call.rows, generator)
            first = 0
            while first < samples:
                k = min(most if call.aligned else 1, samples - first)
                options = _repeated(kwargs, call, k, shared or draw_baseline_from_distrib)
                if starts is not None:
                    options["baselines"] = call.form.arrange(_taken(starts, first, k, samples))
                noisy_inputs = call.form.arrange(_taken(rows, first, k, samples))
                result = self.attribution_method.attribute(noisy_inputs, **options)
                if not found.add(result, k, with_delta):
                    most = 1  # one score for all the copies: one at a time
                    continue
                first += k
            if tol is not None and found.within(tol):
                break
        results = [found.result(_RESULTS[name])]
        if with_delta:
            results.append(torch.cat(found.deltas, -2).transpose(-1, -2).flatten(-2))
        if return_std:
            results.append(found.result(Moments.standard_error))
        return tuple(results) if len(results) > 1 else results[0]


@dataclass
class _Found:
    """Running moments of whatever nest of tensors the method returns."""

    form: Any = None
    moments: list[Moments] = field(default_factory=list)
    deltas: list[Tensor] = field(default_factory=list)

    def add(self, result: Any, samples: int, with_delta: bool) -> bool:
        """Take the scores of some copies, if each has its own."""
        delta = None
        if with_delta:
            result, delta = result
        items = scored(result)
        if any(len(item) % samples for item in items):
            return False
        if delta is not None:
            self.deltas.append(delta.reshape(*delta.shape[:-1], samples, -1))
        if not self.moments:
            self.form, self.moments = result, [Moments() for _ in items]
        for moments, item in zip(self.moments, items, strict=True):
            moments.add(item.reshape(samples, -1, *item.shape[1:]))
        return True

    def within(self, tolerance: float) -> bool:
        return all(moments.within(tolerance) for moments in self.moments)

    def result(self, read: Callable[[Moments], Tensor]) -> Any:
        kinds = [item.dtype for item in scored(self.form)]
        return replaced(
            self.form, (read(m).to(d) for m, d in zip(self.moments, kinds, strict=True))
        )


def _taken(rows: Tensors, first: int, count: int, samples: int) -> Tensors:
    """`count` of the samples, from `first` on, of tensors that hold them copy after copy."""
    lengths = [len(x) // samples for x in rows]
    return tuple(x.narrow(0, first * n, count * n) for x, n in zip(rows, lengths, strict=True))


def _repeated(options: Mapping[str, Any], call: Call, copies: int, shared: bool) -> dict[str, Any]:
    """The method's options for `copies` times the examples.

    What has a row per example is repeated; baselines that are a distribution are `shared`.
    """

    def repeat(value: Any) -> Any:
        def tiled(x: Tensor) -> Tensor:
            per_example = x.ndim > 0 and len(x) == call.rows
            return x.repeat(copies, *[1] * (x.ndim - 1)) if per_example else x

        return map_tensors(tiled, value)

    def target(value: Any) -> Any:
        if isinstance(value, Targets):
            return Targets(*map(target, value))
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(value)
        if isinstance(value, Tensor) and (value.dtype == torch.bool or value.numel() == 1):
            return value
        return value * copies if isinstance(value, list) else repeat(value)

    def baselines(value: Any) -> Any:
        if shared or value is None:
            return value
        if isinstance(value, list):
            return [baselines(each) for each in value]
        full = baselines_of(call, value)
        return call.form.arrange(tuple(b.repeat(copies, *[1] * (b.ndim - 1)) for b in full))

    own = {"target": target, "baselines": baselines}
    return {name: own.get(name, repeat)(value) for name, value in options.items()}
