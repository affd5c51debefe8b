"""Running statistics against torch on all the data at once."""

import pickle
import weakref
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from captum.attr import summary as module
from captum.attr.summary import (
    MSE,
    ClassSummarizer,
    CommonStats,
    Count,
    GeneralAccumFn,
    Max,
    Mean,
    Min,
    Stat,
    StdDev,
    Sum,
    Summarizer,
    SummarizerSingleTensor,
    Var,
)

# The formulas, over the stacked updates (n, *F).
WHOLE: dict[str, tuple[Callable[[], Stat], Callable[[Tensor], Tensor]]] = {
    "mean": (Mean, lambda x: x.mean(0)),
    "mse": (MSE, lambda x: (x - x.mean(0)).square().sum(0)),
    "variance": (Var, lambda x: x.var(0, correction=0)),
    "sample_variance": (lambda: Var(order=1), lambda x: x.var(0)),
    "variance(2)": (lambda: Var(order=2), lambda x: x.var(0, correction=2)),
    "std_dev": (StdDev, lambda x: x.std(0, correction=0)),
    "sample_std_dev": (lambda: StdDev(order=1), lambda x: x.std(0)),
    "std_dev(2)": (lambda: StdDev(order=2), lambda x: x.std(0, correction=2)),
    "min": (Min, lambda x: x.amin(0)),
    "max": (Max, lambda x: x.amax(0)),
    "sum": (Sum, lambda x: x.sum(0)),
    "product": (lambda: GeneralAccumFn(torch.mul, "product"), lambda x: x.prod(0)),
}
SHAPES = st.lists(st.integers(1, 4), max_size=3).map(tuple)


def every_stat() -> list[Stat]:
    return [make() for make, _ in WHOLE.values()]


def draw(n: int, shape: tuple[int, ...], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=generator, dtype=torch.float64)


def summarized(stats: list[Stat], data: Tensor) -> dict[str, Tensor]:
    summarizer = Summarizer(stats)
    for x in data:
        summarizer.update(x)
    return summarizer.summary


@given(SHAPES, st.integers(3, 9), st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_equals_torch_on_the_whole_data(shape, n, seed):
    data = draw(n, shape, seed)
    found = summarized([*every_stat(), Count()], data)
    assert found.pop("count") == n
    assert found.keys() == WHOLE.keys()
    for name, (_, formula) in WHOLE.items():
        torch.testing.assert_close(found[name], formula(data), rtol=1e-9, atol=1e-12)


@given(st.permutations(range(6)), st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_the_order_of_the_updates_changes_nothing(order, seed):
    data = draw(6, (2, 3), seed)
    once, again = (summarized(every_stat(), d) for d in (data, data[order]))
    torch.testing.assert_close(once, again, rtol=1e-9, atol=1e-12)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_how_examples_are_split_into_updates_changes_nothing(sizes, seed):
    data, labels = draw(sum(sizes), (3,), seed), [i % 2 for i in range(sum(sizes))]
    whole, split = ClassSummarizer(every_stat()), ClassSummarizer(every_stat())
    whole.update(data, labels)
    start = 0
    for size in sizes:
        split.update(data[start : start + size], labels[start : start + size])
        start += size
    assert (whole.summary is None) == (not labels)
    if labels:
        torch.testing.assert_close(whole.summary, split.summary, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(
            whole.class_summaries, split.class_summaries, rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("name", WHOLE)
def test_alone_and_among_others_a_statistic_is_the_same(name):
    make, data = WHOLE[name][0], draw(5, (2,), 0)
    alone = make()
    assert alone.get() is None
    for x in data:
        alone.update(x)
    torch.testing.assert_close(alone.get(), summarized(every_stat(), data)[name], rtol=0, atol=0)
    alone.init()
    assert alone.get() is None


def test_a_far_mean_costs_no_digits_in_float32():
    data = (1e4 + 1e-2 * draw(2000, (8,), 0)).float()
    found = summarized([Mean(), StdDev(order=1), Var()], data)
    exact = data.double()
    torch.testing.assert_close(found["mean"], exact.mean(0).float(), rtol=1e-7, atol=0)
    torch.testing.assert_close(found["sample_std_dev"], exact.std(0).float(), rtol=1e-5, atol=0)
    naive = data.square().mean(0) - data.mean(0).square()
    assert ((naive - found["variance"]).abs() > 0.9 * found["variance"]).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_accumulated_in_float32(dtype):
    data = (4 + draw(3000, (2,), 0)).to(dtype)
    found = summarized([Mean(), StdDev(), Sum(), Min()], data)
    assert {value.dtype for value in found.values()} == {dtype}
    expected = {
        "mean": data.float().mean(0).to(dtype),
        "std_dev": data.float().std(0, correction=0).to(dtype),
        "sum": data.float().sum(0).to(dtype),
        "min": data.amin(0),
    }
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept(dtype):
    found = summarized(every_stat(), draw(3, (2,), 0).to(dtype))
    assert {value.dtype for value in found.values()} == {dtype}


def test_integers_and_numbers():
    found = summarized([Mean(), Sum(), Max()], torch.tensor([[3, 4], [6, 7]]))
    expected = {"mean": [4.5, 5.5], "sum": [9, 11], "max": [6, 7]}
    torch.testing.assert_close(found, {k: torch.tensor(v) for k, v in expected.items()})
    summarizer = Summarizer([Mean()])
    summarizer.update((1.0, 2))
    summarizer.update((2.0, 4))
    assert [s["mean"].item() for s in summarizer.summary] == [1.5, 3.0]


def test_dtypes_may_mix():
    mean, total = Mean(), Sum()
    for x in (torch.ones(2, dtype=torch.float16), torch.ones(2, dtype=torch.float64)):
        mean.update(x)
        total.update(x)
    assert mean.get().dtype == total.get().dtype == torch.float64


def test_no_spread_yet_is_zero():
    found = summarized([Var(order=1), StdDev(order=2), Var("v", order=3)], torch.ones(2, 3))
    assert [found[k].tolist() for k in found] == [[0.0] * 3] * 3


def test_nothing_of_the_input_is_kept():
    x = torch.ones(3, requires_grad=True)
    before = weakref.ref(x)
    stats = [*CommonStats(), Sum(), GeneralAccumFn(lambda _, new: new, "last")]
    summarizer = ClassSummarizer(stats)
    summarizer.update(x[None] * 1, labels=[0])
    with torch.no_grad():
        view = x.detach()
        summarizer.update(view[None], labels=[0])
        view.fill_(9.0)
    assert all(v.max() <= 2 and not v.requires_grad for v in summarizer.summary[0].values())
    del x, view
    assert before() is None


def test_a_summary_is_not_the_state():
    summarizer = Summarizer([*CommonStats(), MSE(), Sum()])
    summarizer.update(torch.ones(2))
    for value in summarizer.summary.values():
        value.fill_(44.0)
    assert all(value.max() <= 1 for value in summarizer.summary.values())


def test_moments_are_computed_once(monkeypatch):
    calls = []
    update = module._Moments.update
    monkeypatch.setattr(
        module._Moments, "update", lambda self, x: (calls.append(1), update(self, x))
    )
    summarized([Count(), Mean(), MSE(), Var(), Var(order=1), StdDev()], torch.ones(4, 2))
    assert len(calls) == 4


def test_given_stats_are_recipes():
    stats = CommonStats()
    stats[0].update(torch.full((2,), 7.0))
    first, second = Summarizer(stats), Summarizer(stats)
    first.update(torch.zeros(2))
    assert second.summary is None
    assert first.summary["mean"].tolist() == [0, 0]
    assert stats[0].get().tolist() == [7, 7]


def test_equality_is_of_class_and_parameters():
    assert Mean("a") == Mean()
    assert len({Var(), Var("x"), Var(order=1), StdDev(), StdDev(order=1)}) == 4
    assert Max() != Max(max_fn=torch.fmax)
    assert Max() != Min()
    assert Mean() != "mean"


def test_names():
    stats = [*every_stat(), Count(), GeneralAccumFn(torch.mul), Mean("mine")]
    assert [s.name for s in stats] == [*WHOLE, "count", "generalaccumfn", "mine"]


def test_equal_stats_under_two_names_are_both_shown():
    found = summarized([Mean(), Mean("again"), Mean()], torch.ones(2, 2))
    assert list(found) == ["mean", "again"]
    assert found["again"].tolist() == [1, 1]


def test_a_stat_of_ones_own():
    class Range(Stat):
        def init(self):
            self.values = []

        def update(self, x):
            self.values.append(x.clone())

        def get(self):
            return torch.stack(self.values).amax(0) - torch.stack(self.values).amin(0)

    class Constant(Stat):
        def update(self, x):
            pass

        def get(self):
            return 7

    stats = [Range(), Range("scaled", scale=2), Constant()]
    found = summarized(stats, torch.tensor([[1.0], [4.0]]))
    assert {k: float(v) for k, v in found.items()} == {"range": 3, "scaled": 3, "constant": 7}
    assert Range(scale=2).name == "range({'scale': 2})"


def test_single_tensor_summarizer():
    stats = [Var(), Mean(), Max()]
    summarizer = SummarizerSingleTensor(stats, [1])
    assert summarizer.summary == {"mean": None}
    summarizer.update(torch.tensor([1.0, 3.0]))
    assert summarizer.summary["mean"].tolist() == [1, 3]
    assert summarizer.get(Mean("any")) is stats[1]
    assert summarizer.get(Min()) is None


def test_streams_side_by_side():
    a, b = draw(4, (2,), 0), draw(4, (3, 1), 1)
    summarizer = Summarizer(CommonStats())
    for pair in zip(a, b, strict=True):
        summarizer.update(pair)
    apart = [summarized(CommonStats(), a), summarized(CommonStats(), b)]
    torch.testing.assert_close(summarizer.summary, apart, rtol=0, atol=0)


def test_a_summarizer_can_be_pickled_and_goes_on():
    summarizer = ClassSummarizer(CommonStats())
    summarizer.update(torch.ones(2, 3), [0, 1])
    copy = pickle.loads(pickle.dumps(summarizer))
    for each in (summarizer, copy):
        each.update(torch.zeros(1, 3), [1])
    torch.testing.assert_close(copy.class_summaries, summarizer.class_summaries)


@given(st.lists(st.sampled_from(["a", "b", (1, 2), None]), min_size=2, max_size=9))
@settings(max_examples=20, deadline=None)
def test_a_class_summary_is_the_summary_of_its_examples(labels):
    x, y = draw(len(labels), (2,), 0), draw(len(labels), (), 1)
    summarizer = ClassSummarizer(CommonStats())
    summarizer.update((x, y), labels)
    assert list(summarizer.class_summaries) == list(dict.fromkeys(labels))
    for label, found in summarizer.class_summaries.items():
        mine = torch.tensor([each == label for each in labels])
        apart = [summarized(CommonStats(), x[mine]), summarized(CommonStats(), y[mine])]
        torch.testing.assert_close(found, apart, rtol=1e-9, atol=1e-12)
    whole = [summarized(CommonStats(), x), summarized(CommonStats(), y)]
    torch.testing.assert_close(summarizer.summary, whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([0, 1, 0], {0: 2, 1: 1}),
        (torch.tensor([0, 1, 0]), {0: 2, 1: 1}),
        (torch.tensor([0, 1, 0]).numpy(), {0: 2, 1: 1}),
        ([torch.tensor(0), torch.tensor(1), torch.tensor(0)], {0: 2, 1: 1}),
        (torch.tensor([[0, 1], [2, 3], [0, 1]]), {(0, 1): 2, (2, 3): 1}),
        ([7], {7: 3}),
        (7, {7: 3}),
        (torch.tensor(7), {7: 3}),
        ("cat", {"cat": 3}),
        ((0, 1, 0), {(0, 1, 0): 3}),
    ],
)
def test_forms_of_labels(labels, classes):
    summarizer = ClassSummarizer([Count()])
    summarizer.update(torch.ones(3, 2), labels)
    assert summarizer.summary == [{"count": 3}]
    assert {k: v[0]["count"] for k, v in summarizer.class_summaries.items()} == classes


def test_without_labels_an_update_is_a_summarizers():
    classes, plain = ClassSummarizer([Mean()]), Summarizer([Mean()])
    assert classes.summary is None
    assert classes.class_summaries == {}
    for x in (torch.arange(6.0).view(2, 3), torch.ones(2, 3)):
        classes.update(x)
        plain.update(x)
    assert torch.equal(classes.summary["mean"], plain.summary["mean"])
    assert classes.class_summaries == {}


@pytest.mark.parametrize(
    "second",
    [
        torch.ones(3),
        torch.ones(1, 3),
        (torch.ones(2, 3),),
        (torch.ones(2, 3), torch.ones(2, 3)),
        2.0,
    ],
)
def test_an_update_of_another_form_is_refused(second):
    summarizer = Summarizer([Count()])
    summarizer.update(torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"like the first, a tensor of shape \(2, 3\)"):
        summarizer.update(second)
    assert summarizer.summary == {"count": 1}


def test_a_refused_tuple_updates_no_stream():
    summarizer = Summarizer([Count()])
    summarizer.update((torch.ones(2), torch.ones(3)))
    with pytest.raises(ValueError, match="tuple of shapes"):
        summarizer.update((torch.ones(2), torch.ones(4)))
    assert summarizer.summary == [{"count": 1}, {"count": 1}]


@pytest.mark.parametrize("make", [Mean, Max])
def test_a_stat_alone_does_not_broadcast(make):
    stat = make()
    stat.update(torch.ones(2, 3))
    with pytest.raises(ValueError, match="in the shape of the first"):
        stat.update(torch.ones(3))


def test_refusals():
    with pytest.raises(TypeError, match="expected statistics"):
        Summarizer(["mean"])
    with pytest.raises(ValueError, match="'max' for two"):
        Summarizer([Max(), Max(max_fn=torch.fmax)])
    with pytest.raises(TypeError, match="a tensor, a number or a tuple"):
        Summarizer([Mean()]).update("x")


@pytest.mark.parametrize(
    ("x", "labels", "error", "message"),
    [
        (torch.ones(2, 2), [1, 2, 3], ValueError, "3 labels"),
        (torch.ones(2, 2), [], ValueError, "0 labels"),
        (torch.ones(2, 2), [0, {}], TypeError, "unhashable"),
        ((torch.ones(2), torch.ones(3)), 0, ValueError, "of the same N"),
        (torch.tensor(1.0), 0, ValueError, "of the same N"),
        (1.0, 0, ValueError, "of the same N"),
        ((), 0, ValueError, "of the same N"),
    ],
)
def test_refused_examples_update_nothing(x, labels, error, message):
    summarizer = ClassSummarizer([Count()])
    with pytest.raises(error, match=message):
        summarizer.update(x, labels)
    assert summarizer.summary is None
    assert summarizer.class_summaries == {}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.int64])
def test_rows_at_once_are_rows_one_by_one(dtype):
    """Whatever parts they come in; of a mean far from zero, too."""
    torch.manual_seed(0)
    rows = (torch.randn(40, 3) * 3 + 1000).to(dtype)
    product = GeneralAccumFn(torch.maximum, name="own")
    stats = [Count(), Mean(), MSE(), Var(1), StdDev(), Min(), Max(), Sum(), product]
    slow, quick = Summarizer(stats), Summarizer(stats)
    for row in rows:
        slow.update(row)
    for part in rows.split([1, 7, 0, 20, 12]):
        quick.update_rows(part)
    for name, value in slow.summary.items():
        other = quick.summary[name]
        if name == "count":
            assert value == other == 40
            continue
        assert value.dtype == other.dtype, name
        close = 1e-9 if dtype == torch.float64 else 1e-2 if dtype == torch.float16 else 1e-4
        assert torch.allclose(value.double(), other.double(), rtol=close), name
    pairs = Summarizer([Mean()])
    pairs.update_rows((rows.double(), rows[:, :1].double()))
    assert len(pairs.summary) == 2
    with pytest.raises(ValueError, match="of the same N"):
        pairs.update_rows((rows.double(), rows[:3, :1].double()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64])
def test_two_parts_make_the_whole(dtype):
    """Of any sizes, an empty one too; in the dtype of the whole."""
    torch.manual_seed(0)
    rows = (torch.randn(30, 3) * 3 + 100).to(dtype)
    stats = [Count(), Mean(), MSE(), Var(1), StdDev(), Min(), Max(), Sum()]
    whole = Summarizer(stats)
    whole.update_rows(rows)
    for sizes in ([10, 20], [0, 30], [30, 0], [1, 29], [7, 0, 23]):
        parts = [Summarizer(stats) for _ in sizes]
        for part, some in zip(parts, rows.split(sizes), strict=True):
            if len(some):
                part.update_rows(some)
        for part in parts[1:]:
            parts[0].merge(part)
        for name, value in whole.summary.items():
            other = parts[0].summary[name]
            if name == "count":
                assert value == other
                continue
            assert value.dtype == other.dtype, name
            close = 1e-9 if dtype == torch.float64 else 1e-2 if dtype == torch.float16 else 1e-5
            assert torch.allclose(value.double(), other.double(), rtol=close), (name, sizes)


def test_classes_of_two_parts():
    one, two, whole = (ClassSummarizer([Mean(), Max()]) for _ in range(3))
    x = torch.randn(6, 2)
    for summarizer, rows in ((one, slice(0, 3)), (two, slice(3, 6)), (whole, slice(0, 6))):
        summarizer.update(x[rows], labels=[0, 1, 0, 1, 2, 2][rows])
    one.merge(two)
    assert one.class_summaries.keys() == whole.class_summaries.keys()
    for label, (found,) in one.class_summaries.items():
        assert torch.allclose(found["mean"], whole.class_summaries[label][0]["mean"]), label
    assert torch.allclose(one.summary[0]["mean"], x.mean(0))


def test_what_cannot_be_put_together_says_so():
    class Last(Stat):
        def update(self, x):
            self.value = x

        def get(self):
            return self.value

    for stat in (Last(), GeneralAccumFn(lambda a, b: a - b, name="difference")):
        one, two = Summarizer([stat]), Summarizer([stat])
        one.update(torch.zeros(2)), two.update(torch.zeros(2))
        with pytest.raises(ValueError, match="put together from two"):
            one.merge(two)
    one, two = Summarizer([Mean()]), Summarizer([Max()])
    with pytest.raises(ValueError, match=r"summarizer of \['mean'\]"):
        one.merge(two)
    one, two = Summarizer([Mean()]), Summarizer([Mean()])
    one.update(torch.zeros(2)), two.update(torch.zeros(3))
    with pytest.raises(ValueError, match="every update like the first"):
        one.merge(two)
