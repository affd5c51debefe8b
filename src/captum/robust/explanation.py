"""An attack on the explanation: the scores change, the answer does not."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captum._engine.call import Call, make_call
from captum._engine.errors import describe, wrong
from captum._engine.evaluate import Engine, opened
from captum._engine.nest import Tensors, is_real, scored
from captum._engine.target import Raw
from captum.attr.base import Attribution
from captum.robust.base import Perturbation
from captum.robust.norms import by_example, chosen_rows, near


class ExplanationAttack(Perturbation):
    r"""x' with the largest change of the scores, 1 - cos(φ(x'), φ(x)), and |x' - x|∞ <= r.

    Only points count whose answer is that at x, and whose output for it has not moved by more than
    `tolerance`. A third of the steps tries random directions from the best point so far, the others
    go on from there along the sign of the change's gradient. Where the method can make none (it has
    no `create_graph`), or there is none, all are random.

    Paper: Ghorbani et al., Interpretation of neural networks is fragile (2019),
    https://arxiv.org/abs/1710.10547.

    Args:
        method: whose scores, such as `Saliency(model)`.
        lower_bound: of what inputs may become.
        upper_bound: likewise.

    >>> import torch
    >>> from captum.attr import Saliency
    >>> from captum.robust import ExplanationAttack
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    >>> x = torch.rand(3, 4)
    >>> attack = ExplanationAttack(Saliency(model))
    >>> moved = attack.perturb(x, radius=0.1, target=0)
    >>> bool((model(moved).argmax(1) == model(x).argmax(1)).all())
    True
    """

    def __init__(
        self,
        method: Attribution,
        lower_bound: float = float("-inf"),
        upper_bound: float = float("inf"),
    ) -> None:
        if not isinstance(method, Attribution):
            raise wrong(TypeError, "an attribution method", describe(method), "Saliency(model)")
        self.method = method
        self.lower_bound, self.upper_bound = lower_bound, upper_bound

    def perturb(
        self,
        inputs: Any,
        radius: float | Tensor,
        target: Any = None,
        additional_forward_args: Any = None,
        step_num: int = 30,
        step_size: float | None = None,
        tolerance: float = float("inf"),
        *,
        generator: torch.Generator | None = None,
        **attribute_kwargs: Any,
    ) -> Any:
        """x', in the inputs' own shape; x itself where no point is allowed that changes the scores.

        Args:
            inputs: see the glossary: a tensor (N, *F), or a tuple or dict of them.
            radius: r, for all or for each example.
            target: see the glossary: the output that is explained.
            additional_forward_args: see the glossary: what else the model takes, by position.
            step_num: how many steps.
            step_size: of each; r / 8 by default.
            tolerance: how far the explained output may move.
            generator: of random steps.
            attribute_kwargs: what `attribute` takes, too.

        Raises:
            TypeError: inputs of integers.
        """
        engine = Engine(self.method.forward_func)
        with opened(engine):
            call = make_call(self.method.forward_func, inputs, target, additional_forward_args)
            if not all(map(is_real, call.inputs)):
                raise wrong(
                    TypeError,
                    "inputs that can change a little: floating point",
                    describe(inputs),
                    "a method at the embeddings",
                )
            radii = by_example(radius, call, "radius")
            given = (target, additional_forward_args, attribute_kwargs)
            search = _Search(self.method, engine, call, given, tolerance)
            steps = [r / 8 if step_size is None else r.new_tensor(step_size) for r in radii]
            points = best = call.inputs
            largest = torch.zeros(call.rows)
            for t in range(step_num + 1):
                change, ways = search.look(points)
                allowed = search.allowed(points)
                better = allowed & (change > largest)
                best = chosen_rows(better, points, best)
                largest = torch.where(better, change, largest)
                # Where nothing is allowed, or no slope leads on: by chance, from the best point.
                led = allowed & (torch.cat([w.flatten(1) for w in ways], 1) != 0).any(1).cpu()
                led &= torch.tensor(t >= step_num // 3)
                points = chosen_rows(led, points, best)
                ways = chosen_rows(led, ways, _random(points, generator))
                moved = tuple(x + a * w for x, a, w in zip(points, steps, ways, strict=True))
                points = tuple(
                    x.clamp(self.lower_bound, self.upper_bound)
                    for x in near(call.inputs, moved, radii, "Linf")
                )
            return call.form.arrange(best)


class _Search:
    """Scores and answers at points, beside those at the inputs."""

    def __init__(
        self, method: Attribution, engine: Engine, call: Call, given: Any, tolerance: float
    ) -> None:
        self.method, self.engine, self.call, self.given = method, engine, call, given
        self.tolerance = tolerance
        self.differentiable = "create_graph" in inspect.signature(method.attribute).parameters
        self.scores = self._scores(call.inputs).detach()
        self.answers, self.numbers = self._answers(call.inputs)

    def look(self, points: Tensors) -> tuple[Tensor, Tensors]:
        """How much the scores have changed, (N,), and the signs of its slopes: 0 where unknown."""
        with torch.enable_grad():
            leaves = tuple(x.detach().clone().requires_grad_() for x in points)
            change = 1 - F.cosine_similarity(self._scores(leaves), self.scores, dim=1)
            if not change.requires_grad:
                return change.detach().cpu(), tuple(map(torch.zeros_like, points))
            slopes = torch.autograd.grad(change.sum(), leaves, allow_unused=True)
        ways = (
            torch.zeros_like(x) if g is None else g.sign()
            for g, x in zip(slopes, points, strict=True)
        )
        return change.detach().cpu(), tuple(ways)

    def allowed(self, points: Tensors) -> Tensor:
        """Whether the answer is the same, and its output near enough."""
        answers, numbers = self._answers(points)
        return (answers == self.answers) & ((numbers - self.numbers).abs() <= self.tolerance)

    def _scores(self, points: Tensors) -> Tensor:
        target, args, kwargs = self.given
        graph = {"create_graph": True} if self.differentiable else {}
        found = self.method.attribute(
            self.call.form.arrange(points),
            target=target,
            additional_forward_args=args,
            **graph,
            **kwargs,
        )
        return torch.cat([s.flatten(1) for s in scored(found)], 1)

    def _answers(self, points: Tensors) -> tuple[Tensor, Tensor]:
        """The largest outputs' places, and the explained numbers."""
        with torch.no_grad():
            raw = self.engine.evaluate(replace(self.call, targets=(Raw(),)), inputs=points)
            numbers = self.engine.evaluate(self.call, inputs=points)
        several = raw.ndim > 1 and raw.shape[1] > 1
        return (raw.argmax(1) if several else raw.flatten() > 0).cpu(), numbers.cpu()


def _random(points: Tensors, generator: torch.Generator | None) -> Tensors:
    """Signs, for one to eight steps at once."""
    steps = torch.rand(len(points[0]), generator=generator) * 7 + 1
    return tuple(
        (2.0 * torch.randint(2, x.shape, generator=generator) - 1).to(x)
        * steps.to(x).reshape(-1, *[1] * (x.ndim - 1))
        for x in points
    )
