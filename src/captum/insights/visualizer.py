"""The public face: models, data and what they are called, in a notebook, on a page, in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from captum._engine.errors import describe, wrong
from captum.insights.answers import OutputScore, Question
from captum.insights.calculation import Calculation
from captum.insights.examples import Batch
from captum.insights.features import BaseFeature, FeatureOutput
from captum.insights.saved import page
from captum.insights.server import Page
from captum.insights.session import Session
from captum.insights.widget import show

# A method's class name, or that and values for its parameters.
Asked = str | tuple[str, Mapping[str, Any]]
_FEW = 4  # examples, where nobody says how many
_WORKS = (
    "AttributionVisualizer(models=[net], classes=names, "
    'features=[ImageFeature("Photo", baseline, normalize)], dataset=batches)'
)


class VisualizationOutput(NamedTuple):
    """What one model says of one example, and why.

    Args:
        feature_outputs: the inputs with their attributions; contributions sum to 1.
        actual: the label, or None.
        predicted: the best classes, the model's answer first.
        active_index: the class that is explained; None where the model has but one number.
        model_index: which model it is.
    """

    feature_outputs: tuple[FeatureOutput, ...]
    actual: OutputScore | None
    predicted: tuple[OutputScore, ...]
    active_index: int | None
    model_index: int


class AttributionVisualizer:
    """Look at what models answer and why, and compare methods and models side by side.

    `render()` shows it in a notebook, `serve()` on a local page, `save()` in one HTML file, and
    `visualize()` returns the numbers. Attributions explain the models' own outputs, before
    `score_func`.

    Args:
        models: a model or several: modules or functions of tensors.
        classes: the names of their outputs.
        features: a feature per input, see `captum.insights.features`.
        dataset: batches, read as far as somebody looks; it may be endless.
        score_func: from outputs (N, C) to the scores that are shown, such as a softmax.
        use_label_for_attr: explain the label where there is one, otherwise the model's answer.

    Raises:
        TypeError: something that is no model or no feature.

    >>> import torch
    >>> from captum.insights import AttributionVisualizer, Batch
    >>> from captum.insights.features import GeneralFeature
    >>> net = torch.nn.Linear(2, 2, bias=False)
    >>> _ = net.weight.data.copy_(torch.tensor([[1.0, 0.0], [1.0, 3.0]]))
    >>> visualizer = AttributionVisualizer(
    ...     models=[net], classes=["ill", "well"], features=[GeneralFeature("x", ["u", "v"])],
    ...     dataset=[Batch(torch.tensor([[4.0, 1.0]]), labels=torch.tensor([1]))])
    >>> [[output]] = visualizer.visualize(method="InputXGradient")
    >>> output.actual.label, output.predicted[0].label, output.feature_outputs[0].modified
    ('well', 'well', [4.0, 3.0])
    """

    def __init__(
        self,
        models: Any,
        classes: Sequence[str],
        features: Any,
        dataset: Iterable[Batch],
        score_func: Callable[[Any], Any] | None = None,
        use_label_for_attr: bool = True,
    ) -> None:
        self.models = _several(models)
        self.classes = list(classes)
        self.features = _several(features)
        self.dataset = dataset
        self.score_func = score_func
        self.use_label_for_attr = use_label_for_attr
        if not self.models or not all(map(callable, self.models)):
            raise wrong(TypeError, "a model or several", describe(models), _WORKS)
        if not self.features or not all(isinstance(f, BaseFeature) for f in self.features):
            raise wrong(TypeError, "a feature for each input", describe(features), _WORKS)
        self._calculation = Calculation(
            self.models, self.classes, self.features, dataset, score_func, use_label_for_attr
        )

    def render(self, debug: bool = True) -> None:
        """Show it in this notebook cell.

        Args:
            debug: errors tell where they came from.

        Raises:
            ImportError: anywidget is not installed.
            RuntimeError: there is no notebook.
        """
        show(Session(self._calculation, debug))

    def serve(
        self,
        blocking: bool = False,
        debug: bool = False,
        port: int | None = None,
        bind_all: bool = False,
    ) -> Page:
        """Show it on a page of this computer; the address is printed, `stop()` ends it.

        Only who knows the whole address, with its token, gets an answer, and only this computer
        is let in. With `bind_all` others are, over a line that anybody on it can read.

        Args:
            blocking: stay until the keyboard interrupts.
            debug: errors tell where they came from, and requests are logged.
            port: a port; a free one by default.
            bind_all: let other computers in, who need the token, too.
        """
        found = Page(Session(self._calculation, debug), port, bind_all, log=debug)
        print(f"captum insights: {found.url}", flush=True)
        if blocking:
            found.wait()
        return found

    def visualize(
        self,
        *,
        method: Asked = "IntegratedGradients",
        examples: int | Iterable[int] | None = None,
    ) -> list[list[VisualizationOutput]]:
        """What is shown, as data: a list of examples, each a list of models.

        Args:
            method: a class name such as "Saliency", or that and parameters:
                ("IntegratedGradients", {"n_steps": 100}).
            examples: how many, or their numbers; the first 4 by default.

        Raises:
            FieldsError: parameters that do not fit.
            ValueError: an unknown method.
        """
        models = range(len(self.models))
        name, fields = _method(method)
        return [
            [self._output(Question(number, model, name, fields)) for model in models]
            for number in self._numbers(examples)
        ]

    def save(
        self,
        path: str | Path,
        methods: Sequence[Asked] | None = None,
        examples: int | Iterable[int] | None = None,
    ) -> Path:
        """Write one HTML file with answers to what `methods` say; it needs no server and no net.

        Args:
            path: where to.
            methods: as for `visualize`; integrated gradients by default.
            examples: how many, or their numbers; the first 4 by default.

        Raises:
            FieldsError: parameters that do not fit.
            ValueError: an unknown method.
        """
        numbers = list(self._numbers(examples))
        chosen = ["IntegratedGradients"] if methods is None else list(methods)
        offer = self._calculation.offered()
        asked = [
            Question(number, model, name, offer.checked(name, fields))
            for number in numbers
            for model in range(len(self.models))
            for name, fields in map(_method, chosen)
        ]
        Path(path).write_text(page(Session(self._calculation), numbers, asked), encoding="utf-8")
        return Path(path)

    def _output(self, question: Question) -> VisualizationOutput:
        know, number = self._calculation, question.example
        answer = know.answer(question)
        said = know.predictions(number)[question.model]
        label = know.label(number)
        return VisualizationOutput(
            answer.features, label, said.scores, answer.target, question.model
        )

    def _numbers(self, examples: int | Iterable[int] | None) -> Iterator[int]:
        """The numbers of the examples that are meant and that there are."""
        wanted = range(_FEW) if examples is None else examples
        wanted = range(wanted) if isinstance(wanted, int) else wanted
        return (n for n in wanted if self._calculation.examples.get(n) is not None)


def _several(value: Any) -> list[Any]:
    """A list of what is one or several; a model that holds others is one."""
    return list(value) if isinstance(value, list | tuple) else [value]


def _method(asked: Asked) -> tuple[str, Mapping[str, Any]]:
    return (asked, {}) if isinstance(asked, str) else (asked[0], asked[1])
