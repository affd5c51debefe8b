"""The linear datamodelling score beside scipy, and where its answer is known."""

import pytest
import torch
from scipy.stats import spearmanr

from captum.influence import linear_datamodelling_score


def test_beside_scipy():
    torch.manual_seed(0)
    scores, subsets = torch.randn(3, 20, dtype=torch.float64), torch.rand(15, 20) < 0.5
    outcomes = torch.randn(15, 3, dtype=torch.float64).round(decimals=1)  # some are equal
    found = linear_datamodelling_score(scores, subsets, outcomes)
    for m in range(3):
        foreseen = (subsets * scores[m]).sum(1)
        assert found[m].item() == pytest.approx(spearmanr(foreseen, outcomes[:, m]).statistic)


def test_known_answers():
    torch.manual_seed(0)
    scores, subsets = torch.randn(2, 30), torch.rand(40, 30) < 0.5
    outcomes = subsets.float() @ scores.T
    assert torch.allclose(
        linear_datamodelling_score(scores, subsets, outcomes), torch.ones(2), atol=1e-6
    )
    worst = linear_datamodelling_score(scores, subsets, -outcomes.exp())
    assert torch.allclose(worst, -torch.ones(2), atol=1e-6)
    assert linear_datamodelling_score(scores * 0, subsets, outcomes).tolist() == [0, 0]
    for bad in ((scores, subsets[:, 1:], outcomes), (scores, subsets[:2], outcomes[:2])):
        with pytest.raises(ValueError, match="at least three runs"):
            linear_datamodelling_score(*bad)
