"""Least squares, ridge and lasso: literal formulas, scikit-learn, conditions of optimality."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso, LinearRegression, Ridge
from torch import Tensor

from captum.linear import solve as module
from captum.linear.solve import lasso, ridge

few = settings(max_examples=40, deadline=None)
double = {"dtype": torch.float64}
SOLVERS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "least squares": ridge,
    "ridge": lambda *args, **more: ridge(*args, alpha=0.5, **more),
    "lasso": lambda *args, **more: lasso(*args, alpha=0.05, **more),
}
each_solver = pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)


def _binary(k: int, g: int, r: torch.Generator) -> Tensor:
    return torch.bernoulli(torch.full((k, g), 0.5, **double), generator=r)


# What x looks like, by name: of K rows and G columns, from a generator.
DESIGNS: dict[str, Callable[[int, int, torch.Generator], Tensor]] = {
    "normal": lambda k, g, r: torch.randn(k, g, generator=r, **double),
    "binary": _binary,
    "twins": lambda k, g, r: torch.cat([_binary(k, (g + 1) // 2, r)] * 2, 1)[:, :g],
    "opposites": lambda k, g, r: torch.cat([z := _binary(k, (g + 1) // 2, r), 1 - z], 1)[:, :g],
    "some constant": lambda k, g, r: _binary(k, g, r).index_fill(1, torch.arange(0, g, 2), 0.1),
    "low rank": lambda k, g, r: _binary(k, 2, r) @ torch.randn(2, g, generator=r, **double),
    "far from zero": lambda k, g, r: 100 + torch.randn(k, g, generator=r, **double),
    "of many sizes": lambda k, g, r: (
        torch.randn(k, g, generator=r, **double) * 10 ** torch.randn(g, generator=r, **double)
    ),
    "nearly alike": lambda k, g, r: (
        torch.randn(k, 1, generator=r, **double) + 1e-3 * torch.randn(k, g, generator=r, **double)
    ),
}


@dataclass(frozen=True)
class Problem:
    """B regressions over K rows of G columns."""

    x: Tensor
    y: Tensor  # (B, K)
    weights: Tensor | None  # (K,) or (B, K)
    intercept: bool

    def each(self) -> list[tuple[Tensor, Tensor]]:
        """The values and weights of one regression after the other."""
        weights = torch.ones(len(self.x), **double) if self.weights is None else self.weights
        return list(zip(self.y, weights.expand_as(self.y), strict=True))

    def centred(self, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """√w (x - x̄), √w (y - ȳ), x̄ and ȳ, for weights of sum one."""
        w = w / w.sum()
        x_mean, y_mean = (w @ self.x, w @ y) if self.intercept else (0 * (w @ self.x), 0 * (w @ y))
        return w.sqrt()[:, None] * (self.x - x_mean), w.sqrt() * (y - y_mean), x_mean, y_mean


def make(design: str, k: int, g: int, b: int, weighted: str, intercept: bool, seed: int) -> Problem:
    r = torch.Generator().manual_seed(seed)
    x = DESIGNS[design](k, g, r)
    slopes = torch.randn(g, b, generator=r, **double)
    y = (x @ slopes).T / g**0.5 + torch.randn(b, k, generator=r, **double)
    own = torch.rand(b, k, generator=r, **double) + 0.1
    own[:, 1::4] = 0  # in the weights, rows may be left out
    weights = {"none": None, "shared": own[0], "own": own}[weighted]
    return Problem(x, y, weights, intercept)


problems = st.builds(
    make,
    st.sampled_from(list(DESIGNS)),
    st.integers(1, 14),
    st.integers(1, 9),
    st.integers(1, 3),
    st.sampled_from(["none", "shared", "own"]),
    st.booleans(),
    st.integers(0, 9999),
)
alphas = st.sampled_from([1e-4, 0.01, 0.1, 1.0])


def close(ours: Tensor, theirs: object, tol: float = 1e-9) -> None:
    """Relative to the largest number, or to one."""
    wanted = torch.as_tensor(np.asarray(theirs), **double)
    assert ours.shape == wanted.shape
    scale = max(1.0, float(wanted.abs().max()) if wanted.numel() else 0.0)
    assert float((ours - wanted).abs().max()) <= tol * scale


# ------------------------------------------------------------------------ least squares


@few
@given(problems)
def test_least_squares_are_the_pseudoinverse(p: Problem) -> None:
    """Of least norm, whatever the rank; a constant column has nothing to say."""
    b, c = ridge(p.x, p.y, p.weights, intercept=p.intercept)
    for i, (y, w) in enumerate(p.each()):
        rows, values, x_mean, y_mean = p.centred(y, w)
        # Rounding is relative to the columns as they came, not to what centring left of them.
        rank = np.linalg.matrix_rank(rows, tol=1e-12 * float((w[:, None] * p.x.abs()).max()))
        u, s, v = np.linalg.svd(rows.numpy(), full_matrices=False)
        slopes = v[:rank].T @ ((u[:, :rank].T @ values.numpy()) / s[:rank])
        close(b[i], slopes, 1e-7)
        close(c[i], y_mean - x_mean @ torch.from_numpy(slopes), 1e-6)


@pytest.mark.parametrize("weighted", ["none", "shared", "own"])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_they_equal_scikit_learn(weighted: str, intercept: bool, alpha: float) -> None:
    p = make("normal", 12, 5, 3, weighted, intercept, 0)
    b, c = ridge(p.x, p.y, p.weights, alpha, intercept)
    for i, (y, w) in enumerate(p.each()):
        theirs = Ridge(alpha, fit_intercept=intercept) if alpha else LinearRegression()
        theirs.fit_intercept = intercept
        theirs.fit(p.x.numpy(), y.numpy(), sample_weight=w.numpy())
        close(b[i], theirs.coef_)
        close(c[i], theirs.intercept_)


@few
@given(problems, st.sampled_from([1e-3, 1.0, 50.0]))
def test_ridge_is_least_squares_with_a_row_for_each_penalty(p: Problem, alpha: float) -> None:
    b, _ = ridge(p.x, p.y, p.weights, alpha, p.intercept)
    for i, (y, w) in enumerate(p.each()):
        rows, values, _, _ = p.centred(y, w)
        penalties = (alpha / w.sum()).sqrt() * torch.eye(p.x.shape[1], **double)
        stacked = torch.cat([rows, penalties]), torch.cat([values, 0 * penalties[0]])
        close(b[i], np.linalg.lstsq(stacked[0].numpy(), stacked[1].numpy(), rcond=None)[0], 1e-7)


def test_many_columns_of_little_weight_keep_their_digits() -> None:
    """Kernel SHAP's rows: two of them weigh a million times as much as the others."""
    x = torch.cat([torch.zeros(1, 6), torch.ones(1, 6), _binary(30, 6, torch.Generator())]).double()
    slopes, weights = torch.arange(1.0, 7.0, **double), torch.ones(32, **double)
    weights[:2] = 1e6
    b, c = ridge(x, x @ slopes + 0.5, weights)
    close(b, slopes, 1e-10)
    close(c, 0.5, 1e-10)


# -------------------------------------------------------------------------------- lasso


def missed(p: Problem, b: Tensor, alpha: float) -> float:
    """By how much Karush, Kuhn and Tucker's conditions fail, as `lasso` measures it."""
    worst = 0.0
    for i, (y, w) in enumerate(p.each()):
        rows, values, _, _ = p.centred(y, w)
        norms = torch.linalg.vector_norm(rows, dim=0)
        kept = norms > 1e-13 * p.x.abs().amax(0)  # others are constant
        assert not bool(b[i][~kept].any())
        slopes, rows, norms = b[i][kept], rows[:, kept], norms[kept]
        pull = rows.T @ (values - rows @ slopes)
        off = torch.where(slopes == 0, pull.abs() - alpha, (pull - alpha * slopes.sign()).abs())
        size = torch.cat([values.norm()[None], norms * slopes.abs()]).max()
        worst = max(worst, *(off / (norms * size + 1e-30)).tolist(), 0.0)
    return worst


@few
@given(problems, alphas)
def test_lasso_meets_the_conditions_of_optimality(p: Problem, alpha: float) -> None:
    """To the precision promised, and without a warning: warnings are errors here."""
    b, c = lasso(p.x, p.y, p.weights, alpha, p.intercept)
    assert missed(p, b, alpha) < 4 * torch.finfo(torch.float64).eps ** 0.75
    for i, (y, w) in enumerate(p.each()):
        _, _, x_mean, y_mean = p.centred(y, w)
        close(c[i], y_mean - x_mean @ b[i])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [1e-4, 0.01, 0.1])
@pytest.mark.parametrize(
    ("k", "g"), [(25, 12), (25, 60), (50, 54), (40, 150), (200, 32), (10, 900)]
)
def test_lime_asks_for_more_columns_than_rows(
    k: int, g: int, alpha: float, dtype: torch.dtype
) -> None:
    """Features that are there or not, many of them alike in the few samples there are."""
    for seed in range(3):
        p = make("twins", k, g, 2, "own", True, seed)
        p = replace(p, weights=0.8 + 0.2 * p.weights)
        narrow = [t.to(dtype) for t in (p.x, p.y, p.weights)]
        b, _ = lasso(*narrow, alpha=alpha)
        p = replace(p, y=narrow[1].double(), weights=narrow[2].double())
        assert b.dtype == dtype
        assert missed(p, b.double(), alpha) < 4 * torch.finfo(dtype).eps ** 0.75


@pytest.mark.parametrize("weighted", ["none", "shared", "own"])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.01, 0.2])
def test_lasso_equals_scikit_learn(weighted: str, intercept: bool, alpha: float) -> None:
    p = make("normal", 30, 8, 3, weighted, intercept, 1)
    b, c = lasso(p.x, p.y, p.weights, alpha, intercept)
    for i, (y, w) in enumerate(p.each()):
        theirs = Lasso(alpha, fit_intercept=intercept, tol=1e-14, max_iter=100_000)
        theirs.fit(p.x.numpy(), y.numpy(), sample_weight=w.numpy())
        close(b[i], theirs.coef_)
        close(c[i], theirs.intercept_)
        assert torch.equal(b[i] == 0, torch.from_numpy(theirs.coef_ == 0))


@pytest.mark.parametrize("alpha", [0.1, 0.6, 1.9])
def test_across_orthogonal_columns_slopes_are_soft_thresholds(alpha: float) -> None:
    x = torch.cat([torch.eye(4, **double), -torch.eye(4, **double)]) * 2  # xᵀx / K = 1
    slopes = torch.tensor([2.0, -1.0, 0.5, 0.0], **double)
    b, c = lasso(x, x @ slopes + 3, alpha=alpha)
    close(b, slopes.sign() * (slopes.abs() - alpha).clamp(min=0), 1e-12)
    close(c, 3.0, 1e-12)


@few
@given(problems)
def test_a_large_alpha_leaves_exact_zeros(p: Problem) -> None:
    pulls = [
        (rows.T @ values).abs().max() for rows, values, *_ in (p.centred(*e) for e in p.each())
    ]
    largest = float(max(pulls))
    b, c = lasso(p.x, p.y, p.weights, 1.0001 * largest + 1e-9, p.intercept)
    assert not bool(b.any())
    close(c, [p.centred(y, w)[3] for y, w in p.each()], 1e-12)
    if largest > 1e-6:
        assert bool(lasso(p.x, p.y, p.weights, 0.99 * largest, p.intercept)[0].any())


def test_without_a_penalty_it_is_least_squares() -> None:
    p = make("twins", 12, 6, 2, "own", True, 3)
    for ours, theirs in zip(
        lasso(p.x, p.y, p.weights, 0.0), ridge(p.x, p.y, p.weights), strict=True
    ):
        assert torch.equal(ours, theirs)
    p = make("normal", 12, 6, 2, "own", True, 3)
    close(lasso(p.x, p.y, p.weights, 1e-10)[0], ridge(p.x, p.y, p.weights)[0], 1e-8)


def test_equal_columns_share_a_coefficient() -> None:
    p = make("twins", 30, 12, 2, "none", True, 0)
    b, _ = lasso(p.x, p.y, alpha=0.05)
    alone, _ = lasso(p.x[:, :6], p.y, alpha=0.05)
    assert float(alone.abs().max()) > 0.1
    close(b[:, :6] + b[:, 6:], alone, 1e-9)
    # The middle of all that they could share is where the search comes from, not where it ends.
    close(b[:, :6], b[:, 6:], 1e-4)


@few
@given(st.permutations(range(7)), st.integers(0, 99), st.floats(0.01, 100), st.floats(0.01, 100))
def test_order_and_units_are_conventions(order: list[int], seed: int, s: float, t: float) -> None:
    p = make("binary", 40, 7, 2, "own", True, seed)
    b, c = lasso(p.x, p.y, p.weights, 0.1)
    close(lasso(p.x[:, order], p.y, p.weights, 0.1)[0], b[:, order])
    mine, constant = lasso(s * p.x, t * p.y, p.weights, 0.1 * s * t)
    close(mine * s / t, b)
    close(constant / t, c)
    rows = torch.randperm(40, generator=torch.Generator().manual_seed(seed))
    close(lasso(p.x[rows], p.y[:, rows], p.weights[:, rows], 0.1)[0], b)


@pytest.mark.parametrize("start", ["zeros", "dense", "opposite"])
@pytest.mark.parametrize("design", DESIGNS)
def test_the_active_set_ends_there_from_anywhere(
    start: str, design: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interior point saves steps; what is found does not hang on it."""
    p = make(design, 14, 9, 2, "own", True, 7)
    near, _ = lasso(p.x, p.y, p.weights, 0.01)
    starts = {"zeros": 0 * near, "dense": torch.ones_like(near), "opposite": -near}
    monkeypatch.setattr(module._Lasso, "near", lambda _: starts[start][:, None])
    b, _ = lasso(p.x, p.y, p.weights, 0.01)
    assert missed(p, b, 0.01) < 4 * torch.finfo(torch.float64).eps ** 0.75
    close(b.abs().sum(1), near.abs().sum(1), 1e-7)
    if design == "normal":
        assert torch.equal(b == 0, near == 0)


def test_a_tolerance_is_kept_and_steps_that_end_too_early_warn() -> None:
    p = make("nearly alike", 20, 40, 2, "none", True, 0)
    b, _ = lasso(p.x, p.y, alpha=1e-3, tol=1e-3)
    assert missed(p, b, 1e-3) < 1.1e-3
    with pytest.warns(UserWarning, match="not converged after 0 steps"):
        near, _ = lasso(p.x, p.y, alpha=1e-3, steps=0)
    assert missed(p, near, 1e-3) < 1e-2


# --------------------------------------------------------------------------------- all


@few
@given(problems, st.sampled_from(list(SOLVERS)))
def test_a_batch_equals_a_loop(p: Problem, name: str) -> None:
    """Where several solutions are equally good, they say the same of the rows."""
    solve = SOLVERS[name]
    b, c = solve(p.x, p.y, p.weights, intercept=p.intercept)
    for i, (y, w) in enumerate(p.each()):
        alone, constant = solve(p.x, y, None if p.weights is None else w, intercept=p.intercept)
        assert alone.shape == b[i].shape
        assert constant.shape == ()
        here, there = p.x @ b[i] + c[i], p.x @ alone + constant
        close(here[w > 0], there[w > 0], 1e-6)
        close(
            b[i].abs().sum() if name == "lasso" else b[i].norm(),
            alone.abs().sum() if name == "lasso" else alone.norm(),
            1e-6,
        )


@each_solver
@pytest.mark.parametrize("weighted", ["none", "shared", "own"])
def test_any_batch_dimensions(solve: Callable[..., tuple[Tensor, Tensor]], weighted: str) -> None:
    p = make("normal", 9, 3, 6, weighted, True, 2)
    weights = p.weights if weighted != "own" else p.weights.view(2, 3, 9)
    b, c = solve(p.x, p.y.view(2, 3, 9), weights)
    flat, constants = solve(p.x, p.y, p.weights)
    assert torch.equal(b, flat.view(2, 3, 3))
    assert torch.equal(c, constants.view(2, 3))


@each_solver
def test_a_row_twice_weighs_two_and_a_row_of_weight_zero_is_not_there(
    solve: Callable[..., tuple[Tensor, Tensor]],
) -> None:
    p = make("normal", 12, 4, 2, "none", True, 5)
    counts = torch.tensor([0, 1, 2, 3] * 3)
    b, c = solve(p.x, p.y, counts.double())
    again, constants = solve(p.x.repeat_interleave(counts, 0), p.y.repeat_interleave(counts, 1))
    close(b, again)
    close(c, constants)


@each_solver
def test_one_row_of_weight_leaves_its_value(solve: Callable[..., tuple[Tensor, Tensor]]) -> None:
    x, y = torch.randn(5, 3, **double), torch.randn(2, 5, **double)
    b, c = solve(x, y, 3.0 * torch.eye(5, **double)[2])
    assert not bool(b.any())
    close(c, y[:, 2])


@each_solver
@pytest.mark.parametrize("value", [0.1, 1e8 / 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_column_says_nothing(
    solve: Callable[..., tuple[Tensor, Tensor]], value: float, dtype: torch.dtype
) -> None:
    """Also where its mean is not a number that the dtype holds."""
    x, y = torch.randn(23, 4).to(dtype), torch.randn(2, 23).to(dtype)
    b, c = solve(x[:, 2:], y)
    x[:, :2] = value
    wider, constants = solve(x, y)
    assert not bool(wider[:, :2].any())
    torch.testing.assert_close((wider[:, 2:], constants), (b, c))
    b, c = solve(x[:, :2], y)
    assert not bool(b.any())
    torch.testing.assert_close(c, y.mean(1))


@each_solver
def test_numbers_are_kept_in_float32_or_better(
    solve: Callable[..., tuple[Tensor, Tensor]],
) -> None:
    p = make("normal", 20, 5, 2, "own", True, 4)
    exact = solve(p.x, p.y, p.weights)
    for found, wanted in zip(
        solve(*(t.float() for t in (p.x, p.y, p.weights))), exact, strict=True
    ):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, wanted.float(), rtol=1e-5, atol=1e-6)
    for dtype in (torch.bfloat16, torch.float16):
        rounded = [t.to(dtype) for t in (p.x, p.y, p.weights)]
        for found, wanted in zip(
            solve(*rounded), solve(*(t.float() for t in rounded)), strict=True
        ):
            assert found.dtype == torch.float32
            assert torch.equal(found, wanted)
    whole = p.x.round().long(), p.y.float(), p.weights
    assert {t.dtype for t in solve(*whole)} == {torch.float64}
    assert {t.dtype for t in solve(whole[0], p.y.round().long())} == {torch.float32}


@each_solver
def test_nothing_is_left_on_the_data(
    solve: Callable[..., tuple[Tensor, Tensor]], unchanged: Callable[..., object]
) -> None:
    x, y, w = torch.randn(8, 3, requires_grad=True), torch.randn(2, 8), torch.rand(2, 8)
    with unchanged(x, y, w):
        found = solve(x, y, w)
    assert not any(t.requires_grad for t in found)


@each_solver
def test_nan_in_one_problem_stays_there(solve: Callable[..., tuple[Tensor, Tensor]]) -> None:
    p = make("binary", 12, 5, 3, "own", True, 0)
    whole, _ = solve(p.x, p.y, p.weights)
    p.y[1, 0] = torch.nan
    for weights, known in (
        (p.weights, whole),
        (p.weights[0], solve(p.x, p.y[::2], p.weights[0])[0]),
    ):
        b, c = solve(p.x, p.y, weights)
        assert bool(c[1].isnan())
        assert bool(b[::2].isfinite().all())
        close(b[::2], known[:: 2 if len(known) == 3 else 1])


@each_solver
@pytest.mark.parametrize(("g", "batch"), [(0, (2,)), (3, (0,)), (0, ()), (3, (2, 0))])
def test_nothing_to_find(
    solve: Callable[..., tuple[Tensor, Tensor]], g: int, batch: tuple[int, ...]
) -> None:
    b, c = solve(torch.randn(4, g), torch.ones(*batch, 4))
    assert b.shape == (*batch, g)
    assert torch.equal(c, torch.ones(batch))


def test_values_that_do_not_vary_leave_zeros() -> None:
    p = make("normal", 9, 4, 2, "none", True, 0)
    for value in (0.0, 0.1, 1e6 / 3):
        for solve in SOLVERS.values():
            b, c = solve(p.x, torch.full((2, 9), value, **double))
            close(b / max(1.0, value), torch.zeros(2, 4), 1e-12)
            close(c, [value, value], 1e-12)


X, Y = torch.ones(5, 3), torch.ones(2, 5)


@each_solver
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((X, Y.T), r"y of shape \(\*B, K\)"),
        ((X[0], Y), r"x of shape \(K, G\)"),
        ((X[:0], Y[:, :0]), "with rows"),
        ((X, torch.tensor(1.0)), r"y of shape"),
        ((X, Y, torch.ones(2)), r"weights of shape \(K,\) or \(\*B, K\)"),
        ((X, Y, torch.ones(3, 5)), r"weights of shape \(K,\) or \(\*B, K\)"),
        ((X, Y, -torch.ones(5)), "finite weights of at least 0"),
        ((X, Y, torch.zeros(5)), "some are positive in each problem"),
        ((X, Y, torch.tensor([[1.0], [0.0]]).expand(2, 5)), "some are positive in each problem"),
        ((X, Y, torch.full((5,), torch.inf)), "finite weights"),
        ((X, Y, torch.full((5,), torch.nan)), "finite weights"),
    ],
)
def test_refused_data(
    solve: Callable[..., tuple[Tensor, Tensor]], args: tuple[Tensor, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        solve(*args)


@pytest.mark.parametrize("solve", [ridge, lasso])
@pytest.mark.parametrize("alpha", [-1.0, float("nan"), float("inf")])
def test_refused_alphas(solve: Callable[..., tuple[Tensor, Tensor]], alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha of at least 0"):
        solve(X, Y, alpha=alpha)
