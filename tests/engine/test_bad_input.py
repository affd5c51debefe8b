"""Bad input is refused at the door: what was expected, what came, the call that works."""

import warnings

import pytest
import torch
from torch import nn

from captum.attr import (
    FeatureAblation,
    GradientShap,
    InputXGradient,
    IntegratedGradients,
    LayerActivation,
    LayerConductance,
    LayerGradCam,
    LayerIntegratedGradients,
    Neuron,
    NeuronGradient,
    NoiseTunnel,
    Saliency,
    Targets,
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


X = torch.rand(5, 3)


def refused(kind, *words):
    """An error of this kind that has all three lines, and the words in it."""
    pattern = "(?s)expected .*\n  got:   .*\n  works: .*"
    return _Refused(kind, pattern, words)


class _Refused:
    def __init__(self, kind, pattern, words):
        self.raises, self.words = pytest.raises(kind, match=pattern), words

    def __enter__(self):
        self.info = self.raises.__enter__()

    def __exit__(self, *error):
        done = self.raises.__exit__(*error)
        for word in self.words:
            assert word in str(self.info.value)
        return done


@pytest.mark.parametrize(
    ("target", "kind", "words"),
    [
        (2, IndexError, ["target=2", "(2,)", "target=1"]),
        (-3, IndexError, ["target=-3"]),
        ([0, 1], ValueError, ["5 examples", "2 targets", "Targets(0, 1)"]),
        ([0, 1, 0, 1, 7], IndexError, ["(2,)"]),
        (torch.tensor([0, 1]), ValueError, ["5 examples"]),
        (torch.tensor([0, 1, 0, 1, 2]), IndexError, ["(2,)"]),
        ((0, 1), ValueError, ["at most 1 indices", "(5, 2)"]),
        (None, ValueError, ["one number per example", "shape (5, 2)", "target=(0,)"]),
        ("cat", TypeError, ["'cat'", "target=0"]),
        (0.5, TypeError, ["0.5"]),
        (torch.tensor([True, False, True]), ValueError, ["mask", "(2,)"]),
        (torch.rand(5), TypeError, ["float32"]),
        (Targets(0, 9), IndexError, ["target=9"]),
    ],
)
def test_targets_that_do_not_fit(model, target, kind, words):
    with refused(kind, *words):
        Saliency(model).attribute(X, target=target)


@pytest.mark.parametrize(
    ("inputs", "kind", "words"),
    [
        (torch.rand(0, 3), ValueError, ["inputs", "at least one example", "(0, 3)"]),
        (torch.tensor(1.0), ValueError, ["x[None]"]),
        (torch.full((2, 3), float("nan")), ValueError, ["without NaN", "(0, 0)"]),
        ((X, "words"), TypeError, ["tensor"]),
        (None, TypeError, ["None"]),
        ((None,), TypeError, ["None"]),
        ([[1.0, 2.0, 3.0]], TypeError, ["torch.as_tensor"]),
        (X + 1j, TypeError, ["complex64", "view_as_real"]),
    ],
)
def test_inputs_that_are_none(model, inputs, kind, words):
    with refused(kind, *words):
        Saliency(model).attribute(inputs, target=0)


def test_infinity_is_not_nan(model):
    masked = torch.tensor([[float("inf"), float("-inf"), 0.0]])
    found = Saliency(lambda x: x[:, 2]).attribute(masked)
    assert torch.equal(found, torch.tensor([[0.0, 0.0, 1.0]]))


def test_nan_is_named_with_its_place():
    x = torch.rand(2, 3)
    x[1, 2] = float("nan")
    with refused(ValueError, "inputs['b']", "(1, 2)"):
        Saliency(lambda a, b: (a + b).sum(1)).attribute({"a": torch.rand(2, 3), "b": x})


@pytest.mark.parametrize(
    ("baselines", "kind"),
    [
        (torch.zeros(4, 3), ValueError),
        (torch.zeros(5, 2), ValueError),
        (torch.zeros(1, 5, 3), ValueError),
        ((0, 0), ValueError),
        ("zero", ValueError),
        ([], ValueError),
        ({"a": 0}, ValueError),
    ],
)
def test_baselines_that_do_not_fit(model, baselines, kind):
    with refused(kind, "baseline"):
        IntegratedGradients(model).attribute(X, baselines, target=0)


def test_baselines_of_another_kind():
    embedding = nn.Sequential(nn.Embedding(9, 2), nn.Flatten(), nn.Linear(6, 2))
    with refused(TypeError, "integer", "float32"):
        IntegratedGradients(embedding).attribute(torch.ones(5, 3).long(), X, target=0)


@pytest.mark.parametrize(
    "baselines",
    [0, 0.5, torch.zeros(5, 3), torch.zeros(1, 3), torch.zeros(3), torch.zeros(5, 3).double()],
)
def test_baselines_that_fit(model, baselines):
    assert IntegratedGradients(model).attribute(X, baselines, target=0).shape == X.shape


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"n_steps": 0}, "n_steps=0"),
        ({"n_steps": 2.5}, "n_steps=2.5"),
        ({"method": "simpson"}, "'simpson'"),
        ({"internal_batch_size": 0}, "internal_batch_size"),
        ({"internal_batch_size": "many"}, "'many'"),
    ],
)
def test_options_of_the_integral(model, options, word):
    with refused(ValueError, word):
        IntegratedGradients(model).attribute(X, target=0, **options)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"nt_type": "smooth"}, "'smooth'"),
        ({"nt_samples": 0}, "nt_samples=0"),
        ({"stdevs": (0.1, 0.2)}, "stdevs"),
        ({"nt_samples_batch_size": 0}, "nt_samples_batch_size=0"),
    ],
)
def test_options_of_the_tunnel(model, options, word):
    with refused(ValueError, word):
        NoiseTunnel(Saliency(model)).attribute(X, target=0, **options)


def test_a_distribution_of_the_wrong_shape(model):
    with refused(ValueError, "(K, 3,)", "(4, 2)"):
        GradientShap(model).attribute(X, torch.zeros(4, 2), target=0)


def test_a_mask_of_the_wrong_shape(model):
    with refused(ValueError, "feature_mask", "(1, 3)"):
        FeatureAblation(model).attribute(X, target=0, feature_mask=torch.zeros(1, 4).long())
    with refused(ValueError, "integers"):
        FeatureAblation(model).attribute(X, target=0, feature_mask=torch.zeros(1, 3))


def script(model):
    """TorchScript, which PyTorch itself now warns about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(model)


class TestLayers:
    def test_one_that_does_not_run(self, model):
        with refused(ValueError, "Tanh", "did not run"):
            LayerActivation(model, nn.Tanh()).attribute(X)
        with refused(ValueError, "Tanh", "did not run"):
            LayerIntegratedGradients(model, nn.Tanh()).attribute(X, target=0)
        with refused(ValueError, "0 runs of Tanh"):
            NeuronGradient(model, nn.Tanh()).attribute(X, 0)

    def test_one_that_is_not_a_module(self, model):
        with refused(TypeError, "'relu'", "torch.nn.Module"):
            LayerActivation(model, "relu").attribute(X)

    def test_scripted_models_and_layers(self, model):
        scripted = script(model)
        with refused(TypeError, "TorchScript", "torch.jit.script"):
            LayerActivation(scripted, scripted[0]).attribute(X)
        with refused(TypeError, "TorchScript"):
            NeuronGradient(scripted, model[0]).attribute(X, 0)

    def test_scripted_models_explain_their_inputs(self, model):
        scripted = script(model)
        found = IntegratedGradients(scripted).attribute(X, target=0)
        assert torch.allclose(found, IntegratedGradients(model).attribute(X, target=0), atol=1e-6)

    def test_integer_inputs_have_no_way_from_a_baseline(self):
        model = nn.Sequential(nn.Embedding(9, 2), nn.Flatten(), nn.Linear(6, 2))
        ids = torch.ones(5, 3).long()
        with refused(TypeError, "int64", "configure_interpretable_embedding_layer"):
            LayerConductance(model, model[1]).attribute(ids, target=0)

    def test_a_layer_without_scores(self):
        model = nn.Sequential(nn.Embedding(9, 2), nn.Flatten(), nn.Linear(6, 2))
        with refused(ValueError, "no floating-point tensor"):
            LayerIntegratedGradients(model, model[0]).attribute(
                torch.ones(5, 3).long(), target=0, attribute_to_layer_input=True
            )

    def test_no_channels(self):
        model = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))
        with refused(ValueError, "channels"):
            LayerGradCam(model, model[1]).attribute(X)


@pytest.mark.parametrize("selector", [4, (0, 0), "a", 1.5, (slice(None), 2)])
def test_neurons_that_do_not_fit(model, selector):
    with refused((IndexError, ValueError, TypeError), "neuron_selector"):
        NeuronGradient(model, model[0]).attribute(X, selector)


def test_a_neuron_of_a_run_that_is_not_there(model):
    with refused(ValueError, "at least 2 times"):
        Saliency(model, of=Neuron(model[0], 0, call=1)).attribute(X)


class TestDependence:
    """An output that does not depend on what is scored: never a silent zero."""

    def test_an_unused_input_gets_zeros_and_one_warning(self):
        with pytest.warns(UserWarning, match=r"does not depend on inputs\[1\]") as caught:
            a, b = InputXGradient(lambda a, b: a.sum(1)).attribute((X, X))
        assert [(w.filename, len(caught)) for w in caught] == [(__file__, 1)]
        assert torch.equal(a, X)
        assert torch.equal(b, torch.zeros_like(X))

    def test_an_unused_key_is_named(self):
        with pytest.warns(UserWarning, match=r"inputs\['mask'\]"):
            Saliency(lambda ids, mask: ids.sum(1)).attribute({"ids": X, "mask": X})

    def test_ids_without_a_lookup_beside_others(self):
        model = nn.Embedding(9, 2)
        inputs = {"ids": torch.ones(2, 3).long(), "mask": torch.ones(2, 3).long()}
        with pytest.warns(UserWarning, match=r"inputs\['mask'\]"):
            found = Saliency(lambda ids, mask: (model(ids).sum(2) * mask).sum(1)).attribute(inputs)
        assert torch.equal(found["mask"], torch.zeros(2, 3))

    def test_ids_without_any_lookup(self):
        with refused(ValueError, "int64", "inputs.float()"):
            Saliency(lambda ids: ids.float().sum(1)).attribute(torch.ones(2, 3).long())

    def test_a_detached_output(self):
        for cut in (lambda x: x.detach().sum(1), lambda x: x.argmax(1).float()):
            with refused(ValueError, "without a gradient", "argmax, detach or no_grad"):
                Saliency(cut).attribute(X)

    def test_an_output_that_is_no_tensor(self):
        with refused(TypeError, "str"):
            Saliency(lambda x: "dog").attribute(X)


def test_what_is_not_a_model():
    with refused(TypeError, "torch.nn.Module", "Saliency(model)"):
        Saliency(3)
    with refused(TypeError, "attribution method"):
        NoiseTunnel(nn.Linear(2, 2))


def test_a_path_needs_its_velocity(model):
    method = IntegratedGradients(model, multiply_by_inputs=False)
    with refused(ValueError, "multiply_by_inputs=True"):
        method.attribute(X, target=0, path=lambda a, s, e: s + a.view(-1, 1, 1) * (e - s))


def test_an_integral_that_does_not_settle():
    with pytest.warns(UserWarning, match="above tol"):
        IntegratedGradients(lambda x: (50 * x.sum(1)).sign() * x.sum(1)).attribute(
            torch.ones(1, 2), -torch.ones(1, 2) * 0.7, n_steps="auto", tol=1e-9
        )
