"""Running statistics of attributions: one pass, elementwise, nothing kept of what was passed in.

A `Stat` is fed one value per `update` and read by `get`. `Summarizer` feeds several statistics,
`ClassSummarizer` also keeps them apart by label. Count, Mean, MSE, Var and StdDev are five ways to
read one `_Moments`; a summarizer lets them share it, so the sums are made once however many of
them are asked for.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from captum._engine.errors import describe, wrong

StatValue = Tensor | int | float
Summary = dict[str, StatValue | None]


def _wide(dtype: torch.dtype) -> torch.dtype:
    """The dtype to accumulate in: float32 for half precision, the dtype itself otherwise."""
    return torch.promote_types(dtype, torch.float32) if dtype.is_floating_point else dtype


def _check_shape(x: Tensor, seen: torch.Size) -> None:
    """Refuse a second shape: broadcasting would return a number, and the wrong one."""
    if x.shape != seen:
        raise wrong(
            ValueError,
            f"every update in the shape of the first, {tuple(seen)}",
            describe(x),
            "one new statistic or summarizer per shape",
        )


class _Moments:
    """n, mean and Σ(x − mean)² of the tensors seen.

    Welford's recurrence for y = x − x₁:   δ = y − m,   m += δ / n,   M₂ += δ (y − m).
    Counting from the first tensor x₁ keeps the digits that a mean far from zero would swallow.
    """

    def __init__(self) -> None:
        self.n = 0

    def update(self, x: Tensor) -> None:
        """Take in one more tensor."""
        wide = x.detach().to(torch.promote_types(x.dtype, torch.float32))
        if self.n == 0:
            self.dtype = x.dtype if x.is_floating_point() else wide.dtype
            self._first = wide.clone()
            self._shift = torch.zeros_like(wide)
            self.squares = torch.zeros_like(wide)
        _check_shape(wide, self._first.shape)
        self.n += 1
        self.dtype = torch.promote_types(self.dtype, x.dtype)
        y = wide - self._first
        delta = y - self._shift
        self._shift = self._shift + delta / self.n
        self.squares = self.squares + delta * (y - self._shift)

    def update_rows(self, x: Tensor) -> None:
        """Take in n tensors at once, (n, *F): means and squares of two parts make those of both.

        m += δ n / (n + n₀),   M₂ += Σ (y − ȳ)² + δ² n n₀ / (n + n₀),   δ = ȳ − m.
        """
        if self.n == 0 and len(x):
            self.update(x[0])
            x = x[1:]
        if not len(x):
            return
        wide = x.detach().to(torch.promote_types(x.dtype, torch.float32))
        _check_shape(wide[0], self._first.shape)
        self.dtype = torch.promote_types(self.dtype, x.dtype)
        y = wide - self._first
        mean, before = y.mean(0), self.n
        self.n += len(x)
        delta = mean - self._shift
        self._shift = self._shift + delta * (len(x) / self.n)
        within = (y - mean).square().sum(0)
        self.squares = self.squares + within + delta.square() * (len(x) * before / self.n)

    def merge(self, other: "_Moments") -> None:
        """Take in all that others have seen, by the same formula."""
        if other.n == 0:
            return
        if self.n == 0:
            self.__dict__.update(deepcopy(other.__dict__))
            return
        _check_shape(other._first, self._first.shape)
        self.dtype = torch.promote_types(self.dtype, other.dtype)
        before = self.n
        self.n += other.n
        delta = other.mean - self._first - self._shift
        self._shift = self._shift + delta * (other.n / self.n)
        between = delta.square() * (other.n * before / self.n)
        self.squares = self.squares + other.squares + between

    @property
    def mean(self) -> Tensor:
        return self._first + self._shift

    def variance(self, order: int) -> Tensor:
        """Σ(x − mean)² / (n − order), and 0 until there are more than `order` tensors."""
        if self.n <= order:
            return torch.zeros_like(self.squares)
        return self.squares / (self.n - order)


class Stat(ABC):
    """A number or tensor that is updated with one tensor at a time and can be read at any time.

    To make your own, subclass it and write `update` and `get`; where it has state, also `init`.
    Two statistics of one class with equal `kwargs` are equal, whatever their names.

    Args:
        name: the key in a summary; by default the class name in lower case and the `kwargs`.
        **kwargs: the parameters that tell this statistic from others of its class.

    >>> class Last(Stat):
    ...     def update(self, x): self.value = x.clone()
    ...     def get(self): return self.value
    >>> last = Last()
    >>> last.update(torch.tensor([1.0, 2.0]))
    >>> last.name, last.get(), last == Last("other")
    ('last', tensor([1., 2.]), True)
    """

    def __init__(self, name: str | None = None, **kwargs: Any) -> None:
        self._name = name or type(self).__name__.lower() + (f"({kwargs})" if kwargs else "")
        self._parameters = kwargs

    def init(self) -> None:
        """Forget what was seen. A summarizer calls it once on each statistic it takes over."""
        return

    @abstractmethod
    def update(self, x: Tensor) -> None:
        """Take in one more tensor `(*F)`."""

    def update_rows(self, x: Tensor) -> None:
        """Take in n tensors, (n, *F): each is an update."""
        for row in x:
            self.update(row)

    def merge(self, other: Any) -> None:
        """Take in all that an equal statistic has seen.

        Raises:
            ValueError: what two of them have seen cannot be put together.
        """
        raise wrong(
            ValueError,
            "a statistic that can be put together from two",
            f"{self.name!r}, a {type(self).__name__}",
            "one with a method `merge`, such as Mean()",
        )

    @abstractmethod
    def get(self) -> StatValue | None:
        """The statistic of the tensors seen, or None where there were none."""

    @property
    def name(self) -> str:
        """The key of this statistic in a summary."""
        return self._name

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stat):
            return NotImplemented
        return type(self) is type(other) and self._parameters == other._parameters

    def __hash__(self) -> int:
        return hash((type(self), *sorted(self._parameters)))


class _Reading(Stat):
    """A statistic that is read off the moments, its own or those a summarizer shares out."""

    def __init__(self, name: str | None, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.init()

    def init(self) -> None:
        """Forget what was seen."""
        self._moments = _Moments()

    def share(self, moments: _Moments) -> None:
        """Read these moments from now on."""
        self._moments = moments

    def update(self, x: Tensor) -> None:
        """Take in one more tensor `(*F)`; every update has the shape of the first."""
        self._moments.update(x)

    def update_rows(self, x: Tensor) -> None:
        """Take in n tensors at once, (n, *F)."""
        self._moments.update_rows(x)

    def merge(self, other: Any) -> None:
        """Take in all that an equal statistic has seen."""
        self._moments.merge(other._moments)

    def get(self) -> StatValue | None:
        """The statistic, in the (floating) dtype of the tensors seen; None before the first."""
        if self._moments.n == 0:
            return None
        value = self._read(self._moments)
        return value.to(self._moments.dtype, copy=True) if isinstance(value, Tensor) else value

    @abstractmethod
    def _read(self, moments: _Moments) -> StatValue:
        """The statistic, given at least one tensor."""


class Count(_Reading):
    """n, the number of updates.

    >>> count = Count()
    >>> count.update(torch.zeros(3))
    >>> count.get()
    1
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)

    def _read(self, moments: _Moments) -> int:
        return moments.n


class Mean(_Reading):
    """Σ x / n, elementwise.

    >>> mean = Mean()
    >>> mean.update(torch.tensor([1.0, 2.0]))
    >>> mean.update(torch.tensor([3.0, 2.0]))
    >>> mean.get()
    tensor([2., 2.])
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)

    def _read(self, moments: _Moments) -> Tensor:
        return moments.mean


class MSE(_Reading):
    """Σ (x − mean)², elementwise: the sum of squared errors about the mean, not divided by n.

    >>> mse = MSE()
    >>> mse.update(torch.tensor([1.0, 2.0]))
    >>> mse.update(torch.tensor([3.0, 2.0]))
    >>> mse.get()
    tensor([2., 0.])
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)

    def _read(self, moments: _Moments) -> Tensor:
        return moments.squares


class _Spread(_Reading):
    """A statistic of the variance of some order."""

    _word: str

    def __init__(self, name: str | None = None, order: int = 0) -> None:
        word = self._word
        by_order = {0: word, 1: f"sample_{word}"}.get(order, f"{word}({order})")
        super().__init__(name or by_order, order=order)
        self._order = order


class Var(_Spread):
    """Σ (x − mean)² / (n − order), elementwise, and 0 while n ≤ order.

    Args:
        name: by default "variance", for order 1 "sample_variance".
        order: 0 for the variance of a population, 1 for the unbiased estimate from a sample.

    >>> variance = Var(order=1)
    >>> variance.update(torch.tensor([1.0, 2.0]))
    >>> variance.update(torch.tensor([3.0, 2.0]))
    >>> variance.name, variance.get()
    ('sample_variance', tensor([2., 0.]))
    """

    _word = "variance"

    def _read(self, moments: _Moments) -> Tensor:
        return moments.variance(self._order)


class StdDev(_Spread):
    """√( Σ (x − mean)² / (n − order) ), elementwise, and 0 while n ≤ order.

    Args:
        name: by default "std_dev", for order 1 "sample_std_dev".
        order: what is taken off n in the denominator, as for `Var`.

    >>> deviation = StdDev()
    >>> deviation.update(torch.tensor([1.0, 2.0]))
    >>> deviation.update(torch.tensor([3.0, 2.0]))
    >>> deviation.name, deviation.get()
    ('std_dev', tensor([1., 0.]))
    """

    _word = "std_dev"

    def _read(self, moments: _Moments) -> Tensor:
        return moments.variance(self._order).sqrt()


# Folds of which halves can be folded: a ∘ (b ∘ c) = (a ∘ b) ∘ c.
_ASSOCIATIVE = {
    torch.add,
    torch.mul,
    torch.min,
    torch.max,
    torch.minimum,
    torch.maximum,
    torch.fmin,
    torch.fmax,
}
# Functions of two tensors -> the same of n, (n, *F); a sum of halves is kept wide by `update`.
_FOLDS: dict[Callable[..., Tensor], Callable[[Tensor], Tensor]] = {
    torch.min: lambda x: x.amin(0),
    torch.max: lambda x: x.amax(0),
}


class GeneralAccumFn(Stat):
    """result ← fn(result, x), starting from the first x.

    `fn` receives tensors of its own, of no autograd graph, in float32 where x is of half precision.

    Args:
        fn: takes two tensors and returns one.

    >>> product = GeneralAccumFn(torch.mul, name="product")
    >>> product.update(torch.tensor([1.0, 2.0]))
    >>> product.update(torch.tensor([3.0, 2.0]))
    >>> product.get()
    tensor([3., 4.])
    """

    def __init__(self, fn: Callable[[Tensor, Tensor], Tensor], name: str | None = None) -> None:
        super().__init__(name or type(self).__name__.lower(), fn=fn)
        self._fn = fn
        self.init()

    def init(self) -> None:
        """Forget what was seen."""
        self._value: Tensor | None = None

    def update(self, x: Tensor) -> None:
        """Fold in one more tensor `(*F)`; every update has the shape of the first."""
        own = x.detach().to(_wide(x.dtype), copy=True)
        if self._value is None:
            self._value, self._dtype, self._shape = own, x.dtype, x.shape
            return
        _check_shape(x, self._shape)
        self._value = self._fn(self._value, own).detach()
        self._dtype = torch.promote_types(self._dtype, x.dtype)

    def update_rows(self, x: Tensor) -> None:
        """Take in n tensors, (n, *F); at once where what folds them is known."""
        fold = _FOLDS.get(self._fn)
        rows = x if fold is None or not len(x) else fold(x).unsqueeze(0)
        for row in rows:
            self.update(row)

    def merge(self, other: Any) -> None:
        """Take in all that an equal statistic has seen, where it does not matter in what order.

        Raises:
            ValueError: where nobody knows that of its function.
        """
        if self._fn not in _ASSOCIATIVE:
            super().merge(other)
        if other._value is None:
            return
        if self._value is None:
            self._value, self._dtype, self._shape = other._value.clone(), other._dtype, other._shape
            return
        _check_shape(other._value, self._shape)
        self._value = self._fn(self._value, other._value)
        self._dtype = torch.promote_types(self._dtype, other._dtype)

    def get(self) -> Tensor | None:
        """The result so far, or None before the first tensor."""
        if self._value is None:
            return None
        # Only our own widening is undone: a dtype that fn chose stays.
        widened = self._value.dtype == _wide(self._dtype)
        return self._value.to(self._dtype if widened else self._value.dtype, copy=True)


class Min(GeneralAccumFn):
    """min over the updates, elementwise.

    Args:
        min_fn: the smaller of two tensors.

    >>> smallest = Min()
    >>> smallest.update(torch.tensor([1.0, 5.0]))
    >>> smallest.update(torch.tensor([3.0, 2.0]))
    >>> smallest.get()
    tensor([1., 2.])
    """

    def __init__(
        self, name: str | None = None, min_fn: Callable[[Tensor, Tensor], Tensor] = torch.min
    ) -> None:
        super().__init__(min_fn, name)


class Max(GeneralAccumFn):
    """max over the updates, elementwise.

    Args:
        max_fn: the larger of two tensors.

    >>> largest = Max()
    >>> largest.update(torch.tensor([1.0, 5.0]))
    >>> largest.update(torch.tensor([3.0, 2.0]))
    >>> largest.get()
    tensor([3., 5.])
    """

    def __init__(
        self, name: str | None = None, max_fn: Callable[[Tensor, Tensor], Tensor] = torch.max
    ) -> None:
        super().__init__(max_fn, name)


class Sum(GeneralAccumFn):
    """Σ x, elementwise.

    Args:
        add_fn: the sum of two tensors.

    >>> total = Sum()
    >>> total.update(torch.tensor([1.0, 5.0]))
    >>> total.update(torch.tensor([3.0, 2.0]))
    >>> total.get()
    tensor([4., 7.])
    """

    def __init__(
        self, name: str | None = None, add_fn: Callable[[Tensor, Tensor], Tensor] = torch.add
    ) -> None:
        super().__init__(add_fn, name)


def CommonStats() -> list[Stat]:  # noqa: N802 - the published package's name
    """Mean, sample variance, sample standard deviation, minimum and maximum.

    >>> [stat.name for stat in CommonStats()]
    ['mean', 'sample_variance', 'sample_std_dev', 'min', 'max']
    """
    return [Mean(), Var(order=1), StdDev(order=1), Min(), Max()]


def _by_name(stats: Sequence[Stat]) -> dict[str, Stat]:
    """The statistics under their names; two different ones cannot have one name."""
    named: dict[str, Stat] = {}
    for stat in stats:
        if not isinstance(stat, Stat):
            raise wrong(TypeError, "statistics", describe(stat), "Summarizer([Mean(), Max()])")
        if named.setdefault(stat.name, stat) != stat:
            raise wrong(
                ValueError,
                "a name of its own for each statistic",
                f"{stat.name!r} for two of them",
                'Summarizer([Max(), Max("largest_number", max_fn=torch.fmax)])',
            )
    return named


class SummarizerSingleTensor:
    """Several statistics of one stream of tensors `(*F)`; `Summarizer` is the door to it.

    Args:
        stats: the statistics to update. They are taken over, from the start and not as copies.
        summary_stats_indices: which of them `summary` shows, as indices into `stats`.

    Raises:
        TypeError: for something that is no `Stat`.
        ValueError: where two different statistics have one name.

    >>> summarizer = SummarizerSingleTensor([Mean(), Max(), Count()], [0, 2])
    >>> summarizer.update(torch.tensor([1.0, 2.0]))
    >>> summarizer.summary, summarizer.get(Max()).get()
    ({'mean': tensor([1., 2.]), 'count': 1}, tensor([1., 2.]))
    """

    def __init__(self, stats: list[Stat], summary_stats_indices: list[int]) -> None:
        self._stats = _by_name(stats)
        self._shown = [stats[i].name for i in summary_stats_indices]
        moments = _Moments()
        readings = [stat for stat in self._stats.values() if isinstance(stat, _Reading)]
        others = [stat for stat in self._stats.values() if not isinstance(stat, _Reading)]
        for stat in others:
            stat.init()
        for reading in readings:
            reading.share(moments)
        # The readings share their moments: an update of one is an update of all.
        self._updated: list[Stat] = [*others, *readings[:1]]

    def update(self, x: Tensor) -> None:
        """Update every statistic with one more tensor `(*F)`."""
        for stat in self._updated:
            stat.update(x)

    def update_rows(self, x: Tensor) -> None:
        """Update every statistic with n tensors, (n, *F)."""
        for stat in self._updated:
            stat.update_rows(x)

    def merge(self, other: "SummarizerSingleTensor") -> None:
        """Take in all that another one, of the same statistics, has seen."""
        for own, its in zip(self._updated, other._updated, strict=True):
            own.merge(its)

    def get(self, stat: Stat) -> Stat | None:
        """The statistic in here that equals `stat`, its name aside, or None."""
        return next((own for own in self._stats.values() if own == stat), None)

    @property
    def summary(self) -> Summary:
        """The name of each shown statistic and its value, None before the first update."""
        return {name: self._stats[name].get() for name in self._shown}


def _tensors(x: Any) -> list[Tensor]:
    """The tensors of an update; a number is a tensor of no dimensions."""
    values = x if isinstance(x, tuple) else (x,)
    for value in values:
        if not isinstance(value, Tensor | int | float):
            raise wrong(
                TypeError, "a tensor, a number or a tuple of them", describe(x), "update((a, b))"
            )
    return [torch.as_tensor(value) for value in values]


class Summarizer:
    """Statistics of one stream of tensors, or of several streams side by side.

    Args:
        stats: what to compute. They are copied per tensor, and those given are left as they are.

    Raises:
        TypeError: for something that is no `Stat`.
        ValueError: where two different statistics have one name.

    >>> summarizer = Summarizer([Mean(), StdDev()])
    >>> for attribution in torch.tensor([[1.0, 2.0], [3.0, 2.0]]):
    ...     summarizer.update(attribution)
    >>> summarizer.summary
    {'mean': tensor([2., 2.]), 'std_dev': tensor([1., 0.])}
    """

    def __init__(self, stats: list[Stat]) -> None:
        self._stats = list(_by_name(stats).values())
        self._streams: list[SummarizerSingleTensor] = []
        self._form: tuple[bool, list[torch.Size]] | None = None

    def update(self, x: Tensor | float | tuple[Tensor | float, ...]) -> None:
        """Update every statistic with one more value per stream.

        Args:
            x: a tensor `(*F)`, a number, or a tuple of them with one member per stream.

        Raises:
            TypeError: for anything else.
            ValueError: where the first update had other shapes or another number of streams;
                nothing was updated then.
        """
        tensors = _tensors(x)
        self._begin(x, isinstance(x, tuple), [tensor.shape for tensor in tensors])
        for stream, tensor in zip(self._streams, tensors, strict=True):
            stream.update(tensor)

    def update_rows(self, x: Tensor | tuple[Tensor, ...]) -> None:
        """Update every statistic with n values per stream at once.

        Args:
            x: a tensor `(n, *F)`, or a tuple of them: each row is an update.

        Raises:
            TypeError: for anything else.
            ValueError: as `update`.

        >>> summarizer = Summarizer([Mean(), StdDev()])
        >>> summarizer.update_rows(torch.tensor([[1.0, 2.0], [3.0, 2.0]]))
        >>> summarizer.summary
        {'mean': tensor([2., 2.]), 'std_dev': tensor([1., 0.])}
        """
        tensors = _tensors(x)
        _example_count(tensors, x)
        self._begin(x, isinstance(x, tuple), [tensor.shape[1:] for tensor in tensors])
        for stream, tensor in zip(self._streams, tensors, strict=True):
            stream.update_rows(tensor)

    def fresh(self) -> "Summarizer":
        """One of the same statistics that has seen nothing."""
        return type(self)(self._stats)

    def merge(self, other: "Summarizer") -> None:
        """Take in all that another summarizer, of the same statistics, has seen.

        Args:
            other: the other one: of another part of the data, or from another process.

        Raises:
            ValueError: other statistics; or one that cannot be put together from two.

        >>> one, two = Summarizer([Mean()]), Summarizer([Mean()])
        >>> one.update(torch.tensor([1.0])), two.update_rows(torch.tensor([[3.0], [5.0]]))
        (None, None)
        >>> one.merge(two)
        >>> one.summary
        {'mean': tensor([3.])}
        """
        if self._stats != other._stats:
            raise wrong(
                ValueError,
                f"a summarizer of {[stat.name for stat in self._stats]}",
                f"one of {[stat.name for stat in other._stats]}",
                "Summarizer with the same statistics",
            )
        if other._form is None:
            return
        is_tuple, shapes = other._form
        self._begin(f"a summarizer of shapes {list(map(tuple, shapes))}", is_tuple, shapes)
        for stream, its in zip(self._streams, other._streams, strict=True):
            stream.merge(its)

    def _begin(self, x: object, is_tuple: bool, shapes: list[torch.Size]) -> None:
        """The streams of a first update; refuse an update of another form."""
        form = is_tuple, shapes
        if self._form is None:
            shown = list(range(len(self._stats)))
            self._streams = [SummarizerSingleTensor(deepcopy(self._stats), shown) for _ in shapes]
            self._form = form
        if form != self._form:
            first = "tuple of shapes " if self._form[0] else "tensor of shape "
            first += ", ".join(str(tuple(shape)) for shape in self._form[1])
            works = "one summarizer per form of input"
            raise wrong(ValueError, f"every update like the first, a {first}", describe(x), works)

    @property
    def summary(self) -> Summary | list[Summary] | None:
        """Names and values; a list of such dicts where tuples came, None before the first."""
        if self._form is None:
            return None
        summaries = [stream.summary for stream in self._streams]
        return summaries if self._form[0] else summaries[0]


def _key(label: Any) -> Hashable:
    """A label as a dict key: a tensor equals no other tensor, the numbers in it do."""
    plain = label.tolist() if hasattr(label, "tolist") else label
    return tuple(map(_key, plain)) if isinstance(plain, list) else plain


def _keys(labels: Any, count: int) -> list[Hashable]:
    """One key per example, from one label for all of them or one for each."""
    plain = labels.tolist() if hasattr(labels, "tolist") else labels
    keys = [_key(label) for label in plain] if isinstance(plain, list) else [plain]
    if len(keys) not in (1, count):
        raise wrong(
            ValueError,
            f"one label, or one for each of the {count} examples",
            f"{len(keys)} labels",
            "update(x, labels=[0] * len(x))",
        )
    return keys * count if len(keys) == 1 else keys


def _example_count(tensors: list[Tensor], x: object) -> int:
    """N, on which the first dimensions of all tensors must agree."""
    counts = {tensor.shape[0] if tensor.ndim else None for tensor in tensors}
    count = counts.pop() if len(counts) == 1 else None
    if count is None:
        expected = "tensors (N, *F) of the same N"
        raise wrong(ValueError, expected, describe(x), "update(attributions, labels)")
    return count


class ClassSummarizer(Summarizer):
    """Statistics over examples, of all of them and of each class apart.

    With labels, the first dimension runs over the examples, each of which is one update: values
    are of shape `(*F)`, and `summary` and each of the `class_summaries` are lists with one dict
    per tensor. Without, an update is what it is for a `Summarizer`.

    Args:
        stats: what to compute.

    Raises:
        TypeError: for something that is no `Stat`.
        ValueError: where two different statistics have one name.

    >>> summarizer = ClassSummarizer([Mean(), Count()])
    >>> summarizer.update(torch.tensor([[1.0], [2.0], [5.0]]), labels=["cat", "dog", "cat"])
    >>> summarizer.summary
    [{'mean': tensor([2.6667]), 'count': 3}]
    >>> summarizer.class_summaries["cat"]
    [{'mean': tensor([3.]), 'count': 2}]
    """

    def __init__(self, stats: list[Stat]) -> None:
        super().__init__(stats)
        self._classes: dict[Hashable, Summarizer] = {}

    def update(self, x: Tensor | float | tuple[Tensor | float, ...], labels: object = None) -> None:
        """Update the statistics with N labelled examples, or with one value for all.

        Args:
            x: a tensor `(N, *F)`, or a tuple of them that share N.
            labels: a list or tensor with one label per example; or one label for all of them, which
                may be any other hashable, a tuple too; or None for one update of `summary` alone.

        Raises:
            TypeError: for a label that cannot be a dict key, or an x that is no tensor.
            ValueError: where the numbers of examples or labels differ, or the first update had
                other shapes; nothing was updated then.
        """
        if labels is None:  # as a `Summarizer`: all of it is one update
            super().update(x)
            return
        tensors = _tensors(x)
        keys = _keys(labels, _example_count(tensors, x))
        # Made here because it hashes: an unhashable label is refused before anything is updated.
        rows: dict[Hashable, list[int]] = {}
        for i, key in enumerate(keys):
            rows.setdefault(key, []).append(i)
        if rows:
            super().update_rows(tuple(tensors))
        for key, chosen in rows.items():
            classes = self._classes.setdefault(key, Summarizer(self._stats))
            classes.update_rows(tuple(tensor[chosen] for tensor in tensors))

    def merge(self, other: Summarizer) -> None:
        """Take in all that another summarizer, of the same statistics, has seen."""
        super().merge(other)
        for label, its in other._classes.items() if isinstance(other, ClassSummarizer) else ():
            self._classes.setdefault(label, Summarizer(self._stats)).merge(its)

    @property
    def class_summaries(self) -> dict[Any, Summary | list[Summary] | None]:
        """The summary of each label seen."""
        return {label: summarizer.summary for label, summarizer in self._classes.items()}
