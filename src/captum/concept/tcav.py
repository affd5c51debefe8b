"""TCAV: how often, and how much, a concept's direction leads to an answer."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum._engine import store
from captum._engine.errors import wrong
from captum._engine.layers import modules_of
from captum._engine.model import device_of
from captum._engine.nest import map_tensors, tensors
from captum._engine.ranks import World, together
from captum.attr.base import LayerAttribution
from captum.attr.input_x_gradient import LayerGradientXActivation
from captum.concept.activations import Activations, flattened
from captum.concept.cav import CAV
from captum.concept.classifier import Classifier, DefaultClassifier
from captum.concept.concept import Concept, ConceptInterpreter, check_sets, concepts_to_str
from captum.concept.significance import ConceptTest, holm, outlying

_FEWEST_RANDOMS = 3


class _NotGiven(str):
    """A default path, which nothing is written to."""


class TCAV(ConceptInterpreter):
    r"""Scores of concept c at a layer: the share of inputs with S > 0, and the mean of S.

    S = ∇f · v_c is the slope of the model's output along the concept's vector v_c, the direction in
    which a linear classifier tells its examples from the other concepts' of its set.

    Paper: Kim et al., Interpretability beyond feature attribution: quantitative testing with
    concept activation vectors (2018), https://arxiv.org/abs/1711.11279.

    Args:
        model: the model.
        layers: modules, or their names, or a list of them.
        model_id: a folder for this model, where things are kept.
        classifier: tells concepts apart; a ridge regression by default.
        layer_attr_method: what stands for the slope; `LayerGradientXActivation` without its
            product by default. Its layer is set for each of `layers`.
        attribute_to_layer_input: take the layers' inputs instead of their outputs.
        save_path: a folder to keep activations and vectors in, keyed by what is in the model and
            the examples. Where none is given, nothing is written.
        classifier_kwargs: for the classifier's `train_and_eval`.

    >>> import torch
    >>> from captum.concept import TCAV, Concept
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))
    >>> some = Concept(0, "some", [torch.randn(20, 3) + 1])
    >>> other = Concept(1, "other", [torch.randn(20, 3) - 1])
    >>> scores = TCAV(model, "1").interpret(torch.randn(5, 3), [[some, other]], target=0)
    >>> scores["0-1"]["1"]["sign_count"].sum()
    tensor(1.)
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Any,
        model_id: str = "default_model_id",
        classifier: Classifier | None = None,
        layer_attr_method: LayerAttribution | None = None,
        attribute_to_layer_input: bool = False,
        save_path: str = _NotGiven("./cav/"),
        **classifier_kwargs: Any,
    ) -> None:
        super().__init__(model)
        self._modules = modules_of(model, layers, "TCAV(model, layers=['layer4'])")
        self.layers = list(self._modules)
        self.model_id = model_id
        self.classifier = classifier or DefaultClassifier()
        self.classifier_kwargs = classifier_kwargs
        self.layer_attr_method = layer_attr_method or LayerGradientXActivation(
            model, next(iter(self._modules.values())), multiply_by_inputs=False
        )
        self.attribute_to_layer_input = attribute_to_layer_input
        self.save_path = save_path
        self._keeps = not isinstance(save_path, _NotGiven)
        folder = Path(save_path) / model_id if self._keeps else None
        self.activations = Activations(model, self._modules, attribute_to_layer_input, folder)
        self.concepts: set[Concept] = set()
        self.cavs: dict[str, dict[str, CAV]] = defaultdict(dict)
        self._keys: dict[tuple[str, str], str] = {}

    @together
    def interpret(  # type: ignore[override]  # the concepts are needed
        self,
        inputs: Any,
        experimental_sets: Sequence[Sequence[Concept]],
        target: Any = None,
        additional_forward_args: Any = None,
        processes: int | None = None,
        **kwargs: Any,
    ) -> dict[str, dict[str, dict[str, Tensor]]]:
        """Scores by set ("0-1", the concepts' ids) and layer: "sign_count" and "magnitude", (C,).

        Args:
            inputs: see the glossary: N inputs whose answers are looked at.
            experimental_sets: lists of concepts that are told apart from one another.
            target: see the glossary: the output to look at.
            additional_forward_args: see the glossary: what else the model takes, by position.
            processes: accepted for code written for the published package: all is solved at once.
            kwargs: for the `attribute` of `layer_attr_method`, such as n_steps.

        Raises:
            ValueError: a set of fewer than two concepts, or without examples.
        """
        sets = check_sets(experimental_sets)
        self.compute_cavs(sets)
        slopes = self._slopes(inputs, target, additional_forward_args, kwargs)
        found: dict[str, dict[str, dict[str, Tensor]]] = {}
        for each in sets:
            name = concepts_to_str(each)
            found[name] = {
                layer: _scores(slopes[layer], self.cavs[name][layer].weights)
                for layer in self.layers
            }
        return found

    def test(
        self,
        inputs: Any,
        concepts: Sequence[Concept],
        randoms: Sequence[Concept],
        target: Any = None,
        additional_forward_args: Any = None,
        **kwargs: Any,
    ) -> ConceptTest:
        """Whether concepts mean something: their scores beside those of R random concepts.

        A concept is told apart from each of the random ones, and each of these from the others.
        The mean over R of its scores is tested against the random concepts' means, two-sided:
        random examples that stay the same lead one way, too. p is corrected for all concepts and
        layers.

        Args:
            inputs: see the glossary: N inputs whose answers are looked at.
            concepts: K concepts.
            randoms: R concepts of random examples, some ten of them.
            target: see the glossary: the output to look at.
            additional_forward_args: see the glossary: what else the model takes, by position.
            kwargs: for the `attribute` of `layer_attr_method`.

        Raises:
            ValueError: fewer than three random concepts.
            ImportError: scipy is missing.
        """
        count = len(randoms)
        if count < _FEWEST_RANDOMS:
            raise wrong(
                ValueError,
                f"at least {_FEWEST_RANDOMS} random concepts to compare with",
                f"{count} of them",
                "test(inputs, [striped], randoms=[Concept(i, f'random {i}', …) for i in …])",
            )
        pairs = [[r, s] for r, s in combinations(randoms, 2)]
        sets = [[c, r] for c in concepts for r in randoms] + pairs
        found = self.interpret(inputs, sets, target, additional_forward_args, **kwargs)

        def shares(pair: Sequence[Concept]) -> Tensor:
            """The share of both of a pair at every layer, (L, 2)."""
            of = found[concepts_to_str(pair)]
            return torch.stack([of[layer]["sign_count"].cpu() for layer in self.layers])

        scores = torch.stack(
            [torch.stack([shares([c, r])[:, 0] for r in randoms], 1) for c in concepts]
        )
        random = torch.zeros(len(self.layers), count, dtype=scores.dtype)
        for (i, j), pair in zip(combinations(range(count), 2), pairs, strict=True):
            random[:, [i, j]] += shares(pair) / (count - 1)
        chances = outlying(scores.mean(-1), random.expand(len(concepts), -1, -1))
        corrected = holm(chances.flatten()).view(chances.shape)
        names = [concept.name for concept in concepts]
        return ConceptTest(names, list(self.layers), scores, random, chances, corrected)

    @together
    def compute_cavs(
        self,
        experimental_sets: Sequence[Sequence[Concept]],
        force_train: bool = False,
        processes: int | None = None,
    ) -> dict[str, dict[str, CAV]]:
        """The vectors of sets of concepts at every layer, by set and layer.

        Those that are stored, or were made before of the same model and examples, are not made
        again.

        Args:
            experimental_sets: lists of concepts that are told apart from one another.
            force_train: make them anew.
            processes: accepted.

        Raises:
            ValueError: a set of fewer than two concepts, or without examples.
        """
        sets = check_sets(experimental_sets)
        self.concepts.update(concept for each in sets for concept in each)
        sets = [each for each in sets if not self._stored(each)]
        # As they come, each once: a concept may be in several sets.
        needed = list(dict.fromkeys(concept for each in sets for concept in each))
        made = self.activations.of_all(needed, store.digest_of_model(self.model))
        known = dict(zip(needed, made, strict=True))
        world = World.sharing(self.model)
        # One process trains: what is drawn there is one draw for all.
        stats = [
            self._trained(each, layer, [known[c] for c in each], force_train).stats
            for each in sets if world.rank == 0
            for layer in self.layers
        ]  # fmt: skip
        shared = iter(
            world.first(map_tensors(lambda t: t.cpu(), stats) if world.size > 1 else stats)
        )
        for each in sets:
            for layer in self.layers:
                found = CAV(each, layer, next(shared), self.save_path, self.model_id)
                self.cavs[concepts_to_str(each)][layer] = found
        return self.cavs

    def load_cavs(self, concepts: list[Concept]) -> tuple[list[str], dict[Concept, list[str]]]:
        """Load the stored vectors of a set, of whatever examples they were made.

        Returns:
            The layers that have none, and for each concept the same.
        """
        name = concepts_to_str(concepts)
        missing = []
        for layer in self.layers:
            found = CAV.load(self.save_path, self.model_id, concepts, layer)
            if found is None:
                missing.append(layer)
            else:
                self.cavs[name][layer] = found
        return missing, {concept: list(missing) for concept in concepts if missing}

    @together
    def generate_all_activations(self) -> None:
        """Make the activations of all concepts that were seen so far."""
        self.activations.of_all(sorted(self.concepts, key=lambda concept: concept.identifier))

    @together
    def generate_activations(self, concept_layers: Mapping[Concept, Sequence[str]]) -> None:
        """Make the activations of concepts.

        Args:
            concept_layers: the concepts, and layers, of which all are made at once.
        """
        self.activations.of_all(list(concept_layers))

    @together
    def generate_activation(self, layers: str | Sequence[str], concept: Concept) -> None:
        """Make the activations of a concept.

        Args:
            layers: accepted: those of all layers are made at once.
            concept: the concept.
        """
        self.activations.of(concept)

    def _stored(self, concepts: list[Concept]) -> bool:
        """Whether vectors are all there is of some concepts, and they are here."""
        if all(concept.data_iter is not None for concept in concepts):
            return False
        name = concepts_to_str(concepts)
        return set(self.layers) <= set(self.cavs[name]) or not self.load_cavs(concepts)[0]

    def _trained(
        self,
        concepts: list[Concept],
        layer: str,
        made: Sequence[tuple[str, Mapping[str, Tensor]]],
        force: bool,
    ) -> CAV:
        """The vectors of a set at a layer, of its concepts' activations; or those there are."""
        options = repr(self.classifier_kwargs), type(self.classifier).__qualname__
        keys = [key for key, _ in made]
        key = store.digest([c.identifier for c in concepts], keys, layer, options)
        known = self.cavs[concepts_to_str(concepts)].get(layer)
        if known is None and self._keeps:
            known = CAV.load(self.save_path, self.model_id, concepts, layer)
        if force or known is None or (known.stats or {}).get("key") != key:
            known = self._fitted(concepts, layer, [values[layer] for _, values in made], key)
            if self._keeps:
                known.save()
        return known

    def _fitted(self, concepts: list[Concept], layer: str, rows: Sequence[Tensor], key: str) -> CAV:
        labels = [
            torch.full((len(row),), concept.id) for row, concept in zip(rows, concepts, strict=True)
        ]
        classifier = copy.deepcopy(self.classifier)
        stats = classifier.train_and_eval(
            [(torch.cat(list(rows)), torch.cat(labels))], **self.classifier_kwargs
        )
        found = {
            **(stats or {}),
            "weights": classifier.weights(),
            "classes": [int(c) for c in classifier.classes()],
            "key": key,
        }
        return CAV(concepts, layer, found, self.save_path, self.model_id)

    def _slopes(
        self, inputs: Any, target: Any, args: Any, kwargs: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """What stands for the slopes at every layer, (N, F); processes share the inputs."""
        world = World.sharing(self.model)
        if world.size > 1:
            world.agree({"inputs": store.digest(inputs, target, args)})
        count = _rows(inputs, target, args, kwargs) if world.size > 1 else None
        if count is None:  # one process's are taken, should they be drawn
            own = self._own_slopes(inputs, target, args, kwargs)
            return {layer: world.lead(own[layer]) for layer in self.layers}
        mine = world.own(count)
        parts: dict[str, list[tuple[int, Tensor]]] = {layer: [] for layer in self.layers}
        if mine.start < mine.stop:
            asked = target[mine] if _has_rows(target) else target
            own = self._own_slopes(map_tensors(lambda t: t[mine], inputs), asked, args, kwargs)
            parts = {layer: [(mine.start, own[layer])] for layer in self.layers}
        return {layer: world.joined(part) for layer, part in parts.items()}

    def _own_slopes(
        self, inputs: Any, target: Any, args: Any, kwargs: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        device = device_of(self.model)
        there = map_tensors(lambda t: t.to(device), inputs)
        modules = list(self._modules.values())
        together = isinstance(self.layer_attr_method, LayerGradientXActivation)

        def attributed(layer: Any) -> Any:
            method = copy.copy(self.layer_attr_method)
            method.layer = layer
            return method.attribute(
                there,
                target=target,
                additional_forward_args=args,
                attribute_to_layer_input=self.attribute_to_layer_input,
                **kwargs,
            )

        # Gradients at several layers come from one pass; other methods take layers out of it.
        made = attributed(modules) if together else [attributed(each) for each in modules]
        return dict(zip(self._modules, map(flattened, made), strict=True))


def _has_rows(target: Any) -> bool:
    return isinstance(target, list) or (isinstance(target, Tensor) and target.ndim > 0)


def _rows(inputs: Any, target: Any, args: Any, kwargs: Mapping[str, Any]) -> int | None:
    """N, where everything that has rows plainly has one for each of the N inputs."""
    counts = {len(t) if t.ndim else 0 for t in tensors(inputs)}
    if _has_rows(target):
        counts.add(len(target))
    beside = any(True for _ in tensors((args, dict(kwargs))))
    return counts.pop() if len(counts) == 1 and not beside else None


def _scores(slopes: Tensor, vectors: Tensor) -> dict[str, Tensor]:
    along = slopes @ vectors.T.to(slopes)  # (N, C)
    return {"sign_count": (along > 0).to(along).mean(0), "magnitude": along.mean(0)}
