"""Attacks beside their formulas written out, on nets whose nearest borders are known."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from captum.robust import APGD, FGSM, PGD, DeepFool, Perturbation, Square
from captum.robust.losses import cross_entropy, logit_ratio, margins, negative_log

CE = nn.CrossEntropyLoss(reduction="none")


def net(seed=0, inputs=6, classes=4):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, classes)).double().eval()


def data(count=5, seed=1, inputs=6, classes=4):
    torch.manual_seed(seed)
    return torch.randn(count, inputs).double(), torch.arange(count) % classes


def slope(model, x, y, loss=CE):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(loss(model(x), y).sum(), x)[0]


# ---------------------------------------------------------------------------- by the formula


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("loss", [CE, nn.CrossEntropyLoss(reduction="sum"), nn.CrossEntropyLoss()])
def test_fgsm(targeted, loss, unchanged):
    model, (x, y) = net(), data()
    with unchanged(model, x, y):
        found = FGSM(model, loss).perturb(x, 0.1, y, targeted=targeted)
    sign = -1 if targeted else 1
    assert torch.equal(found, x + sign * 0.1 * slope(model, x, y).sign())


def test_fgsm_of_probabilities_and_of_what_is_none():
    """-log f of what is positive; what is not falls as well."""
    model, (x, y) = net(), data()
    picked = lambda output, y: output.gather(1, y[:, None])[:, 0]  # noqa: E731
    probabilities = lambda x: model(x).softmax(1)  # noqa: E731
    truth = slope(probabilities, x, y, lambda p, y: -picked(p, y).log())
    assert torch.equal(FGSM(probabilities).perturb(x, 0.1, y), x + 0.1 * truth.sign())
    assert (model(x) < 0).any()
    falls = slope(model, x, y, lambda z, y: -picked(z, y))
    assert torch.equal(FGSM(model).perturb(x, 0.1, y), x + 0.1 * falls.sign())
    found = negative_log(torch.tensor([0.5, -1.0]))
    assert torch.allclose(found, torch.tensor([0.6931, 1.0]), atol=1e-4)


def test_small_gradients_and_masks_stay():
    model, (x, y) = net(), data()
    fgsm = FGSM(model, CE)
    fgsm.zero_thresh = float(slope(model, x, y).abs().median())
    moved = (fgsm.perturb(x, 0.1, y) != x).double().mean()
    assert 0.3 < moved < 0.7
    mask = torch.tensor([[1.0, 0, 1, 0, 1, 0]]).double()
    for found in (
        FGSM(model, CE).perturb(x, 0.1, y, mask=mask),
        PGD(model, CE).perturb(x, 0.2, 0.1, 4, y, mask=mask, random_start=True),
        APGD(model).perturb(x, 0.2, y, mask=mask, step_num=5),
        Square(model).perturb(x, 0.2, y, mask=mask, query_num=20),
        DeepFool(model).perturb(x, mask=mask),
    ):
        assert torch.equal(found[:, 1::2], x[:, 1::2])
        assert (found[:, ::2] != x[:, ::2]).any()


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("step", ["sign", "gradient"])
def test_pgd(norm, step):
    model, (x, y) = net(), data()
    found = PGD(model, CE, -2, 2).perturb(x, 0.25, 0.1, 6, y, norm=norm, step=step)
    at = x
    for _ in range(6):
        g = slope(model, at, y)
        way = g.sign() if step == "sign" else g / g.norm(dim=1, keepdim=True)
        change = at + 0.1 * way - x
        if norm == "Linf":
            change = change.clamp(-0.25, 0.25)
        else:
            change = change * (0.25 / change.norm(dim=1, keepdim=True)).clamp(max=1)
        at = (x + change).clamp(-2, 2)
    assert torch.allclose(found, at)


def test_random_starts_fill_the_ball_and_follow_the_seed():
    model, (x, y) = net(), data(400)
    pgd = PGD(model, CE)
    for norm in ("Linf", "L2"):
        torch.manual_seed(3)
        one = pgd.perturb(x, 0.5, 0.1, 0, y, random_start=True, norm=norm) - x
        torch.manual_seed(3)
        assert torch.equal(one, pgd.perturb(x, 0.5, 0.1, 0, y, random_start=True, norm=norm) - x)
        sizes = one.abs().amax(1) if norm == "Linf" else one.norm(dim=1)
        assert sizes.max() <= 0.5
        # Of even spread, the share within half the radius is a half to the power of 6.
        assert (sizes < 0.45).double().mean() == pytest.approx(0.9**6, abs=0.08)
    before = torch.get_rng_state()
    own = torch.Generator().manual_seed(1)
    pgd.perturb(x, 0.5, 0.1, 1, y, random_start=True, generator=own)
    assert torch.equal(before, torch.get_rng_state())


def literal_apgd(model, x, y, radius, steps):
    """The paper's algorithm for one example and the largest change."""

    def loss(at):
        return float(CE(model(at), y).detach())

    def projected(at):
        return x + (at - x).clamp(-radius, radius)

    looks, share, gap = [], 0.22, 0.22
    while share <= 1:
        looks.append(max(1, round(share * steps)))
        gap = max(gap - 0.03, 0.06)
        share += gap
    at = before = best = x
    eta, last, last_best, halved, ups = 2 * radius, 0, loss(x), True, 0
    for t in range(steps):
        z = projected(at + eta * slope(model, at, y).sign())
        new = z if t == 0 else projected(at + 0.75 * (z - at) + 0.25 * (at - before))
        ups += loss(new) > loss(at)
        before, at = at, new
        best = at if loss(at) > loss(best) else best
        if t + 1 in looks:
            stuck = ups < 0.75 * (t + 1 - last) or (not halved and loss(best) <= last_best)
            if stuck:
                eta, at = eta / 2, best
            last, last_best, halved, ups = t + 1, loss(best), stuck, 0
    return best


def test_apgd():
    model, (x, y) = net(), data()
    found = APGD(model).perturb(x, 0.3, y, step_num=25)
    for i in range(len(x)):
        truth = literal_apgd(model, x[i : i + 1], y[i : i + 1], 0.3, 25)
        assert torch.allclose(found[i : i + 1], truth)
    few = PGD(model, CE).perturb(x, 0.3, 0.3, 1, y)
    assert (CE(model(found), y) >= CE(model(few), y) - 1e-9).all()


def test_named_losses():
    z = torch.randn(50, 5).double()
    y = torch.randint(5, (50,))
    for row, label, ratio, gap in zip(z, y, logit_ratio(z, y), margins(z, y), strict=True):
        falling = row.sort(descending=True).values
        other = max(v for i, v in enumerate(row) if i != label)
        assert ratio == pytest.approx(float(-(row[label] - other) / (falling[0] - falling[2])))
        assert gap == pytest.approx(float(row[label] - other))
    assert torch.equal(cross_entropy(z, y), F.cross_entropy(z, y, reduction="none"))
    assert torch.allclose(logit_ratio(1000 * z + 3, y), logit_ratio(z, y))


# --------------------------------------------------------------------------- known borders


def linear():
    """Class 0 wins where w·x > b; the border is |w·x - b| / |w| away."""
    model = nn.Linear(3, 2).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, -1.0, 2.0], [0.0, 0.0, 0.0]]))
        model.bias.copy_(torch.tensor([-0.5, 0.0]))
    return model


@pytest.mark.parametrize(("norm", "size"), [("L2", 3.0), ("Linf", 5.0)])
def test_deep_fool_finds_the_nearest_border(norm, size):
    model = linear()
    x = torch.randn(20, 3).double()
    gap = (x @ model.weight[0] + model.bias[0]).abs() / size
    found = DeepFool(model).perturb(x, norm=norm, overshoot=0.01)
    change = found - x
    far = change.norm(dim=1) if norm == "L2" else change.abs().amax(1)
    assert torch.allclose(far, 1.01 * gap)
    assert (model(found).argmax(1) != model(x).argmax(1)).all()


def test_deep_fool_on_a_net_is_near_the_least():
    """No shorter than the nearest wrong point of many along random ways, and always over."""
    model, (x, _) = net(), data(8)
    own = model(x).argmax(1)
    found = DeepFool(model).perturb(x)
    assert (model(found).argmax(1) != own).all()
    far = (found - x).norm(dim=1)
    ways = F.normalize(torch.randn(4000, 6).double(), dim=1)
    for i in range(len(x)):
        wrong = model(x[i] + 0.7 * far[i] * ways).argmax(1) != own[i]
        assert wrong.double().mean() < 0.05
    others = torch.tensor([(c + 1) % 4 for c in own])
    assert torch.equal(DeepFool(model).perturb(x, target=others), x), "they are not its answers"


def test_square_breaks_what_can_be_broken():
    """At the corner of the cube: |w|₁ r is how far a linear score can fall."""
    model = linear()
    x = torch.randn(60, 3).double()
    y = model(x).argmax(1)
    score = x @ model.weight[0] + model.bias[0]
    found = Square(model).perturb(x, 0.2, y, query_num=300)
    assert (found - x).abs().max() <= 0.2 + 1e-12
    assert torch.equal(model(found).argmax(1) != y, score.abs() < 0.2 * 5)
    images = torch.rand(3, 2, 5, 5)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(50, 3))
    labels = flat(images).argmax(1)
    with torch.no_grad():
        before = margins(flat(images), labels)
        pushed = Square(flat, None, 0, 1).perturb(images, 0.1, labels, query_num=200)
        assert (margins(flat(pushed), labels) < before).all()
    assert pushed.min() >= 0
    assert pushed.max() <= 1
    assert ((pushed - images).abs() <= 0.1 + 1e-6).all()


def test_square_asks_only_about_what_still_stands():
    model, (x, y) = (
        linear(),
        (torch.tensor([[9.0, 0, 0], [0.3, 0, 0]]).double(), torch.zeros(2).long()),
    )
    rows = []
    model.register_forward_hook(lambda _m, _i, out: rows.append(len(out)))
    Square(model).perturb(x, 0.2, y, query_num=50)
    assert sum(rows) <= 2 + 49 + 10


# ----------------------------------------------------------------------- any input, any loss


def test_several_tensors_dicts_and_arguments():
    torch.manual_seed(0)
    a, b = torch.randn(4, 3).double(), torch.randn(4, 2).double()
    one, two = nn.Linear(3, 3).double(), nn.Linear(2, 3).double()

    def model(a, b, shift):
        return torch.tanh(one(a)) + two(b) * shift

    y, shift = torch.tensor([0, 1, 2, 0]), torch.rand(4, 1).double()
    for attack in (
        lambda *given, **more: FGSM(model, CE).perturb(*given, epsilon=0.1, **more),
        lambda *given, **more: PGD(model, CE).perturb(
            *given, radius=0.2, step_size=0.1, step_num=3, norm="L2", **more
        ),
        lambda *given, **more: APGD(model).perturb(*given, radius=0.2, step_num=8, **more),
    ):
        options = {"target": y, "additional_forward_args": shift}
        both = attack((a, b), **options)
        assert isinstance(both, tuple)
        for i in range(4):
            own = {"target": y[i : i + 1], "additional_forward_args": shift[i : i + 1]}
            alone = attack((a[i : i + 1], b[i : i + 1]), **own)
            assert all(torch.allclose(p[i : i + 1], q) for p, q in zip(both, alone, strict=True))
    masks = (torch.zeros(1, 3).double(), torch.ones(1, 2).double())
    kept, moved = FGSM(model, CE).perturb((a, b), 0.1, y, shift, mask=masks)
    assert torch.equal(kept, a)
    assert not torch.equal(moved, b)


def test_radii_by_example():
    model, (x, y) = net(), data(3)
    radii = torch.tensor([0.0, 0.1, 0.3]).double()
    for found in (
        FGSM(model, CE).perturb(x, radii, y),
        PGD(model, CE).perturb(x, radii, 0.1, 5, y, random_start=True),
        APGD(model).perturb(x, radii, y, step_num=8),
        Square(model).perturb(x, radii, y, query_num=10),
    ):
        assert ((found - x).abs().amax(1) <= radii + 1e-12).all()
        assert torch.equal(found[0], x[0])
        assert (found[1:] != x[1:]).any(1).all()


def test_a_bound_of_the_users_own():
    model, (x, y) = net(), data()
    fgsm = FGSM(model, CE)
    fgsm.bound = lambda values: (values * 10).round() / 10
    found = fgsm.perturb(x, 0.1, y)
    assert torch.allclose(found * 10, (found * 10).round())


def test_masked_gradients_are_told():
    """A loss without a slope stays as it is, and is no sign of strength."""
    (x, y) = data()
    steps = lambda x: (x @ torch.eye(6)[:, :4].double()).sign() * 50  # noqa: E731
    with pytest.warns(UserWarning, match="5 of 5 examples has no gradient"):
        assert torch.equal(FGSM(steps, CE).perturb(x, 0.1, y), x)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda m, x, y: FGSM(m, CE).perturb(x.long(), 0.1, y), TypeError, "floating point"),
        (lambda m, x, y: FGSM(m, CE).perturb(x, -0.1, y), ValueError, "epsilon of at least 0"),
        (lambda m, x, y: FGSM(m, CE).perturb(x, 0.1, y[:2]), ValueError, "a label for all"),
        (lambda m, x, y: FGSM(m, CE).perturb(x, torch.ones(2), y), ValueError, "one for each"),
        (lambda m, x, y: FGSM(m, CE, 1, 0), ValueError, "lower_bound below"),
        (lambda m, x, y: FGSM("m"), TypeError, "a model"),
        (lambda m, x, y: PGD(m, CE).perturb(x, 1, 1, 1, y, norm="L1"), ValueError, "norm 'Linf'"),
        (lambda m, x, y: PGD(m, CE).perturb(x, 1, 1, 1, y, step="up"), ValueError, "step 'sign'"),
        (lambda m, x, y: PGD(m, CE).perturb(x, 1, 1, -1, y), ValueError, "step_num"),
        (lambda m, x, y: APGD(m, "l2").perturb(x, 1, y), ValueError, "'ce' or 'dlr'"),
        (lambda m, x, y: APGD(m).perturb(x, 1, y, step_num=0), ValueError, "step_num"),
        (lambda m, x, y: APGD(lambda x: m(x)[:, :2], "dlr").perturb(x, 1, y % 2), ValueError, "3"),
        (lambda m, x, y: Square(m).perturb(x, 1, y, share=0), ValueError, "share above 0"),
        (lambda m, x, y: DeepFool(lambda x: m(x)[:, 0]).perturb(x), ValueError, "two classes"),
    ],
)
def test_refused(call, kind, message):
    model, (x, y) = net(), data()
    with pytest.raises(kind, match=message):
        call(model, x, y)


def test_half_precision_and_frozen_models():
    for dtype in (torch.bfloat16, torch.float16):
        model = net().to(dtype).requires_grad_(False)
        x, y = data()
        x = x.to(dtype)
        for found in (
            FGSM(model, CE).perturb(x, 0.1, y),
            PGD(model, CE).perturb(x, 0.2, 0.1, 3, y, norm="L2"),
            APGD(model).perturb(x, 0.2, y, step_num=5),
        ):
            assert found.dtype == dtype
            assert torch.isfinite(found).all()
            assert not found.requires_grad
    model = net()
    with torch.inference_mode():
        x, y = data()
    assert (FGSM(model, CE).perturb(x, 0.1, y) != x).any()


def test_a_perturbation_of_ones_own():
    class Darker(Perturbation):
        def perturb(self, inputs, by=0.5):
            return inputs * by

    assert Darker()(torch.ones(2)).tolist() == [0.5, 0.5]
