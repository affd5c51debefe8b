"""What models say of the examples of a data set, and why."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from captum._engine.errors import describe, wrong
from captum._engine.passes import Told, counted
from captum._engine.target import as_tensor
from captum.insights.answers import Answer, OutputScore, Prediction, Question
from captum.insights.examples import Batch, Example, Examples
from captum.insights.features import BaseFeature, FeatureOutput, Transform
from captum.insights.groups import Shape
from captum.insights.memory import Memory, state_of
from captum.insights.methods import Offer
from captum.insights.scoring import alone, scores

_BEST = 5  # classes that are shown of a prediction
_KEPT = 512  # answers that are remembered
_KEPT_READY = 16  # inputs and baselines that are: they may be large
_SEED = 0  # of every calculation: the same question has the same answer


class Ready(NamedTuple):
    """One example as the model takes it: inputs (1, *F), K baselines of all inputs."""

    inputs: tuple[Tensor, ...]
    baselines: list[tuple[Tensor, ...]]


class Calculation:
    """Predictions and attributions by example number, each calculated once.

    Models, their tensors, the random state and the data are left as they are.

    Args:
        models: the models.
        classes: the names of their outputs.
        features: one per input.
        dataset: batches.
        score_func: from an output to scores, such as a softmax.
        use_label: explain the label, where there is one, and not the model's own answer.

    >>> import torch
    >>> from captum.insights.features import GeneralFeature
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = model.weight.data.copy_(torch.eye(2))
    >>> found = Calculation([model], ["a", "b"], [GeneralFeature("x", ["u", "v"])],
    ...                     [Batch(torch.tensor([[3.0, 1.0]]), torch.tensor([0]))])
    >>> found.predictions(0)[0].best
    OutputScore(score=3.0, index=0, label='a')
    >>> found.answer(Question(0, method="InputXGradient")).features[0].modified
    [3.0, 0.0]
    """

    def __init__(
        self,
        models: Sequence[Any],
        classes: Sequence[str],
        features: Sequence[BaseFeature],
        dataset: Iterable[Batch],
        score_func: Callable[[Any], Any] | None = None,
        use_label: bool = True,
    ) -> None:
        self.models = list(models)
        self.classes = list(classes)
        self.features = list(features)
        self.examples = Examples(dataset)
        self.score_func = score_func
        self.use_label = use_label
        self.offer = Offer({})
        self._memory, self._lately = Memory(_KEPT), Memory(_KEPT_READY)

    @property
    def kinds(self) -> list[str]:
        """What each input is shown as."""
        return [feature.visualization_type() for feature in self.features]

    def offered(self) -> Offer:
        """The methods for these models and inputs; looks at the first example."""
        if not self.offer.methods:
            self.offer = Offer.to(self.models, self.kinds, self.ready(0).inputs)
        return self.offer

    def ready(self, number: int) -> Ready:
        """An example's inputs and baselines after their transforms."""
        key = self._key("ready", number)
        return self._lately.once(key, lambda: self._prepared(self.examples[number]))

    def predictions(self, number: int) -> list[Prediction]:
        """What each model says of an example."""
        return self._memory.once(self._key("said", number), lambda: self._predicted(number))

    def shown(self, number: int) -> list[FeatureOutput]:
        """An example's inputs without attributions."""
        return self._memory.once(self._key("shown", number), lambda: self._unexplained(number))

    def answer(self, question: Question, tell: Told | None = None) -> Answer:
        """The answer to a question.

        Args:
            question: what is asked.
            tell: called with the number of rows that went through the model so far.

        Raises:
            FieldsError: values that do not fit the method's fields.
            IndexError: no such example, model or class.
            ValueError: no such method.
        """
        known = self._checked(question)
        return self._memory.once(self._key("why", known.key), lambda: self._answered(known, tell))

    def label(self, number: int) -> OutputScore | None:
        """An example's label, where there is one."""
        label = self.examples[number].label
        return None if label is None else OutputScore(None, _index(label), self.named(label))

    def named(self, index: int | float) -> str:
        """The name of a class; of what is none, the number."""
        known = isinstance(index, int) and 0 <= index < len(self.classes)
        return str(self.classes[int(index)]) if known else f"{index:.5g}"

    def _key(self, *about: Any) -> str:
        """What is asked, and of models in which state."""
        return " ".join(map(str, (state_of(self.models), *about)))

    def _prepared(self, example: Example) -> Ready:
        if len(example.inputs) != len(self.features):
            raise wrong(
                ValueError,
                f"batches of {len(self.features)} inputs, one per feature",
                f"{len(example.inputs)} inputs",
                "Batch(inputs=(images, questions), labels=labels)",
            )
        pairs = list(zip(self.features, example.inputs, strict=True))
        with self._undisturbed():
            inputs = tuple(_through(f.input_transforms, x) for f, x in pairs)
            count = max(1, *(len(f.baseline_transforms) for f in self.features))
            return Ready(inputs, [self._baselines(inputs, k) for k in range(count)])

    def _baselines(self, inputs: tuple[Tensor, ...], k: int) -> tuple[Tensor, ...]:
        """The k-th baseline of each input; its last where it has fewer, zeros where it has none."""
        return tuple(
            _through(f.baseline_transforms[: k + 1][-1:], x)
            if f.baseline_transforms
            else torch.zeros_like(x)
            for f, x in zip(self.features, inputs, strict=True)
        )

    def _predicted(self, number: int) -> list[Prediction]:
        example, ready = self.examples[number], self.ready(number)
        found = []
        for model in self.models:
            with self._undisturbed():
                output = model(*ready.inputs, *example.args)
                output = output if self.score_func is None else self.score_func(output)
            found.append(self._prediction(as_tensor(output), example.label))
        return found

    def _prediction(self, output: Tensor, label: int | float | None) -> Prediction:
        row = output.detach().float().reshape(-1)
        if output.ndim > 2 or not len(row):
            raise wrong(
                ValueError,
                "a model with one row of scores per example, (N, C) or (N,)",
                describe(output),
                "AttributionVisualizer(lambda x: model(x).mean((2, 3)), ...)",
            )
        if len(row) == 1:
            return self._single(float(row[0]), label)
        best = row.topk(min(_BEST, len(row)))
        pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        scores = tuple(OutputScore(score, i, self.named(i)) for score, i in pairs)
        return Prediction(scores, None if label is None else scores[0].index == label)

    def _single(self, score: float, label: int | float | None) -> Prediction:
        """One number: the chance of the second of two classes, or just a number."""
        if len(self.classes) != 2:
            return Prediction((OutputScore(score, None, f"{score:.5g}"),), None)
        index = int(score >= 0.5)
        right = None if label is None else index == label
        return Prediction((OutputScore(score, index, self.named(index)),), right)

    def _checked(self, question: Question) -> Question:
        values = self.offered().checked(question.method, question.fields)
        if question.model not in range(len(self.models)):
            got = f"model {question.model!r}"
            raise wrong(IndexError, f"a model below {len(self.models)}", got, "model 0")
        said = self.predictions(question.example)[question.model]
        target = self._target(question, said)
        return Question(question.example, question.model, question.method, values, target)

    def _target(self, question: Question, said: Prediction) -> int | None:
        label = self.examples[question.example].label
        target = question.target
        if len(said.scores) == 1:
            return None
        if target is None:
            target = _index(label) if self.use_label and label is not None else None
        target = said.best.index if target is None else target
        if isinstance(target, bool) or not isinstance(target, int) or target < 0:
            raise wrong(IndexError, "the number of a class", repr(target), "0")
        return target

    def _answered(self, question: Question, tell: Told | None) -> Answer:
        example, ready = self.examples[question.example], self.ready(question.example)
        method = self.offered()[question.method]
        model = self.models[question.model]
        with self._undisturbed(grad=True), _noting() as notes, counted(model, tell) as seen:
            found = scores(
                method,
                seen,
                ready.inputs,
                ready.baselines,
                self.kinds,
                question.fields,
                question.target,
                example.args,
            )
        found = tuple(each.detach() for each in found)
        parts = alone(method, question.fields, self.kinds, found)
        total = None if method.grouped == "windows" else sum(float(part.sum()) for part in parts)
        drawn = tuple(self._drawn(example, found, contributions(self.kinds, parts)))
        return Answer(question.target, drawn, total, tuple(notes))

    def _drawn(
        self, example: Example, found: Sequence[Tensor], shares: Sequence[float]
    ) -> Iterator[FeatureOutput]:
        for feature, score, data, share in zip(
            self.features, found, example.inputs, shares, strict=True
        ):
            yield feature.visualize(score.clone(), data.detach().clone(), share)

    def _unexplained(self, number: int) -> list[FeatureOutput]:
        inputs = self.ready(number).inputs
        nothing = [torch.zeros(x.shape) for x in inputs]
        return list(self._drawn(self.examples[number], nothing, [0.0] * len(nothing)))

    @contextmanager
    def _undisturbed(self, grad: bool = False) -> Iterator[None]:
        """The same random numbers every time, none of them the user's."""
        devices = _devices(self.examples)
        with torch.random.fork_rng(devices), torch.set_grad_enabled(grad):
            torch.default_generator.manual_seed(_SEED)
            for device in devices:
                torch.cuda.default_generators[device].manual_seed(_SEED)
            yield


def contributions(kinds: Sequence[str], found: Sequence[Tensor]) -> list[float]:
    """Each input's share of Σ|score|, from 0 to 1.

    A picture's scores count per pixel and a text's per token: what lies in one place is summed
    before its size is taken, so ids and embeddings have the same share.

    >>> contributions(["general"] * 2, [torch.tensor([[1.0, -2.0]]), torch.tensor([[1.0]])])
    [0.75, 0.25]
    """
    sizes = [
        float(_places(kind, each).abs().sum()) for kind, each in zip(kinds, found, strict=True)
    ]
    total = sum(sizes)
    return [size / total if total else 0.0 for size in sizes]


def _places(kind: str, score: Tensor) -> Tensor:
    shape = Shape.of(kind, score)
    if shape.picture:
        return score.float().reshape(-1, *score.shape[-2:]).sum(0)
    return score.float().sum(-1) if shape.embedded else score.float()


def _through(transforms: Sequence[Transform], x: Tensor) -> Tensor:
    """One example, without its batch dimension, through each transform; a copy, as some write."""
    ready = x[0].clone()
    for transform in transforms:
        ready = transform(ready)
    if not isinstance(ready, Tensor):
        got, works = describe(ready), "input_transforms=[torchvision.transforms.ToTensor()]"
        raise wrong(TypeError, "transforms from a tensor to a tensor", got, works)
    return ready.detach()[None]


def _index(label: int | float) -> int | None:
    return label if isinstance(label, int) else None


def _devices(examples: Examples) -> list[int]:
    """The GPUs whose random state is to be kept."""
    first = examples.get(0)
    tensors = [] if first is None else first.inputs
    return sorted({x.device.index for x in tensors if x.device.type == "cuda"})


@contextmanager
def _noting() -> Iterator[list[str]]:
    """Warnings as text: they are for who looks at the page, not for a terminal."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield notes
    notes.extend(dict.fromkeys(str(each.message) for each in caught))
