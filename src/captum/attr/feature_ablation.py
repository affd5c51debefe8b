"""Feature ablation: what the output loses when a feature is replaced by its baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from captum._engine.batching import RowLimit, Rows
from captum._engine.call import Call, matched
from captum._engine.call import baselines as baselines_of
from captum._engine.errors import describe, wrong
from captum._engine.evaluate import Engine
from captum._engine.features import Features, make_features
from captum._engine.nest import Tensors, scored
from captum._engine.progress import Progress
from captum._engine.site import Inputs
from captum.attr.base import PerturbationAttribution, Scores


def feature_ablation(
    engine: Engine, call: Call, values: Tensors, base: Tensors, features: Features
) -> Tensor:
    """f(v) - f(v without group g) for every group, shape (*lead, G, N)."""

    def f(points: Tensors, copies: int = 1) -> Tensor:
        if isinstance(engine.at, Inputs):
            return engine.evaluate(call, copies, inputs=points)
        return engine.evaluate(call, copies, values=points)

    whole = f(values)
    drops = []
    for part in engine.copies(call, features.count):
        k = part.stop - part.start
        left = f(features.absent(values, base, part), k)
        drops.append(whole.unsqueeze(engine.lead) - engine.by_copy(left, k))
    return torch.cat(drops, engine.lead)


class FeatureAblation(PerturbationAttribution):
    r"""Score of a feature = f(x) - f(x with the feature at its baseline).

    Args:
        forward_func: the model; no gradient is needed.

    >>> import torch
    >>> from captum.attr import FeatureAblation
    >>> FeatureAblation(lambda x: x[:, 0] * x[:, 1]).attribute(torch.tensor([[2., 3.]]))
    tensor([[6., 6.]])
    """

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        perturbations_per_eval: Rows = "auto",
        show_progress: bool = False,
        *,
        forward_kwargs: Mapping[str, Any] | None = None,
    ) -> Scores:
        """Scores of shape (N, *F), as the inputs.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            baselines: see the glossary: what an absent feature is replaced by, zeros by default.
            target: see the glossary: the output to explain.
            additional_forward_args: see the glossary: what else the model takes, by position.
            feature_mask: integers (1, *F) or (N, *F): entries with one number are one feature,
                across inputs too; by default every entry is a feature.
            perturbations_per_eval: features per pass, chosen by default.
            show_progress: a progress bar of model rows.
            forward_kwargs: what else the model takes, by keyword.

        Raises:
            ValueError: a mask or baselines that do not fit the inputs.
        """
        progress = Progress(self.get_name(), show_progress)
        given = (inputs, target, additional_forward_args, forward_kwargs)
        with self._open(*given, progress=progress) as (engine, call):
            at_inputs = isinstance(engine.at, Inputs)
            start = baselines_of(call, baselines)
            values = call.inputs if at_inputs else engine.read(call)
            base = start if at_inputs else engine.read(call, inputs=start)
            features = make_features(values, _masks(call, feature_mask, at_inputs))
            engine.expect(call, features.count + 1, reads=0 if at_inputs else 2)
            per_pass = RowLimit.of(perturbations_per_eval, "perturbations_per_eval")
            if per_pass is not None:
                engine.limit = RowLimit(per_pass.rows * call.rows, fixed=True, measured=True)
            items = features.spread(feature_ablation(engine, call, values, base, features))
            if not at_inputs:
                return engine.arrange(call, items)
            if not call.several:
                return call.form.arrange(items)
            return [call.form.arrange(each) for each in zip(*items, strict=True)]


def _masks(call: Call, given: Any, at_inputs: bool) -> Tensors | None:
    if given is None:
        return None
    if not at_inputs:
        return given if isinstance(given, tuple) else (given,)
    if any(x.is_floating_point() for x in scored(given)):
        raise wrong(ValueError, "a feature_mask of integers", describe(given), "mask.long()")
    longs = call.moved(tuple(x.long() for x in call.inputs))  # masks are integers beside any input
    return matched(longs, given, "feature_mask")
