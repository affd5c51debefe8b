"""Laws of attributing a number about a whole data set: it is ablation of all batches at once."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from captum import attr
from laws import nets
from laws.compare import assert_same_scores
from laws.unchanged import unchanged

X = nets.images(7)


def loader(size: int = 3) -> DataLoader[Any]:
    # With a generator of its own a loader leaves the global one alone, so that we can see it.
    return DataLoader(X, batch_size=size, generator=torch.Generator())


def mean_of(done: Any, output: Tensor, batch: tuple[Any, ...]) -> Any:
    count, total = done if done is not None else (0, 0)
    return count + len(batch[0]), total + output.sum(0)


def divided(done: Any) -> Tensor:
    count, total = done
    return total / count


def explained(net: nets.Net, size: int = 3, **options: Any) -> Tensor:
    method = attr.DataLoaderAttribution(attr.FeatureAblation(net))
    batches = loader(size)
    with unchanged(net, X):
        found: Tensor = method.attribute(batches, reduce=mean_of, to_metric=divided, **options)
    return found


@pytest.mark.parametrize("baseline", [None, 0.3])
def test_it_is_ablation_in_all_examples_at_once(baseline: float | None) -> None:
    """Of a mean over examples, which is linear, the mean of their own scores."""
    net = nets.smooth()
    each = [
        attr.FeatureAblation(net).attribute(X, baseline, target=t).mean(0, keepdim=True)
        for t in range(3)
    ]
    found = explained(net, baselines=baseline)
    torch.testing.assert_close(found, torch.cat(each).to(found.dtype), atol=1e-6, rtol=1e-6)


def test_scores_keep_the_dtype_of_the_metric() -> None:
    assert explained(nets.smooth()).dtype == torch.float64


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_the_size_of_batches_changes_no_number(size: int) -> None:
    assert_same_scores(explained(nets.smooth(), size), explained(nets.smooth()), 1e-6)


@pytest.mark.parametrize("per_pass", [1, 5, 1000])
def test_the_number_of_perturbations_per_reading_changes_no_number(per_pass: int) -> None:
    found = explained(nets.smooth(), perturbations_per_pass=per_pass)
    assert_same_scores(found, explained(nets.smooth()), 1e-12)


def test_what_has_no_influence_scores_zero() -> None:
    found = explained(nets.deaf())
    assert float(found[:, 1].abs().max()) < 1e-6
    assert float(found[:, 0].abs().max()) > 1e-3


def test_a_linear_model_is_complete() -> None:
    net = nets.linear()
    change = (net(X) - net(X * 0)).mean(0).detach()
    found = explained(net).flatten(1).sum(1)
    torch.testing.assert_close(found, change.to(found.dtype), atol=1e-5, rtol=1e-5)


def test_groups_of_a_mask_share_a_score() -> None:
    mask = (torch.arange(32) % 4).view(1, *nets.IMAGE)
    found = explained(nets.smooth(), feature_mask=mask)
    groups = explained(nets.smooth(), feature_mask=mask, return_input_shape=False)
    assert groups.shape == (3, 4)
    assert torch.equal(found, groups[:, mask[0]])


def test_scores_hold_no_graph() -> None:
    assert not explained(nets.smooth()).requires_grad


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_mode_does_not_matter(mode: Callable[[], Any]) -> None:
    net = nets.smooth()
    wanted = explained(net)
    with mode():
        found = explained(net)
    assert_same_scores(found, wanted, 1e-12)


def test_labels_reach_the_metric_and_not_the_model() -> None:
    net, labels = nets.smooth(), torch.arange(7) % 3
    batches = DataLoader(TensorDataset(X, labels), batch_size=3, generator=torch.Generator())

    def right(done: Any, output: Tensor, batch: tuple[Any, ...]) -> Any:
        chosen = output.gather(1, batch[1][:, None]).sum()
        return chosen if done is None else done + chosen

    method = attr.DataLoaderAttribution(attr.FeatureAblation(net))
    with unchanged(net, X, labels):
        scores = method.attribute(batches, input_roles=(0, 2), reduce=right)[0]
    each = attr.FeatureAblation(net).attribute(X, target=labels).sum(0, keepdim=True)
    torch.testing.assert_close(scores, each.to(scores.dtype), atol=1e-5, rtol=1e-5)


class Counting:
    """Batches that count how often they are read."""

    def __init__(self, size: int) -> None:
        self.batches, self.reads = [torch.rand(4, size).double() for _ in range(3)], 0

    def __iter__(self) -> Iterator[Tensor]:
        for batch in self.batches:
            self.reads += 1
            yield batch


def _total(done: Any, output: Tensor, batch: Any) -> Tensor:
    return output.sum() if done is None else done + output.sum()


def test_a_data_set_that_fits_is_read_once() -> None:
    loader = Counting(5)
    attr.DataLoaderAttribution(attr.FeatureAblation(lambda x: x.prod(1))).attribute(
        loader, reduce=_total
    )
    assert loader.reads == 1 + 3  # a look at the first batch, then all of them


def test_a_data_set_that_does_not_fit_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    loader, method = (
        Counting(5),
        attr.DataLoaderAttribution(attr.FeatureAblation(lambda x: x.cos().sum(1))),
    )
    expected = method.attribute(loader, reduce=_total)
    monkeypatch.setattr("captum.attr.dataloader._ROOM", 200)  # bytes: no batch, few rows
    assert torch.allclose(method.attribute(loader, reduce=_total), expected)
    assert loader.reads > 2 * (1 + 3)


def test_a_model_that_works_in_place_harms_no_batch() -> None:
    def model(x: Tensor) -> Tensor:
        return x.mul_(2).sum(1)

    loader = Counting(5)
    before = [batch.clone() for batch in loader.batches]
    found = attr.DataLoaderAttribution(attr.FeatureAblation(model)).attribute(loader, reduce=_total)
    assert all(map(torch.equal, loader.batches, before))
    assert torch.allclose(found[0], 2 * torch.cat(before).sum(0))
