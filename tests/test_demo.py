"""The main job, end to end: train, explain, one page with the answer."""

import torch

from captum import demo


def test_the_demo(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    demo.main()
    said = capsys.readouterr()
    page = (tmp_path / "captum-demo" / "report.html").read_text(encoding="utf-8")
    assert str(tmp_path / "captum-demo" / "report.html") in said.out
    assert "143286/143286" in said.err  # the long part shows its progress, and it ends at 100 %
    assert page.count("data:image/png;base64,") == 3
    assert 'src="http' not in page  # nothing is loaded from elsewhere


def test_what_the_demo_says_is_so():
    trained = demo.train()
    assert trained.accuracy > 0.93
    found = demo.explain(trained, show_progress=False)
    with torch.no_grad():
        base = torch.zeros_like(trained.inputs)
        change = (trained.model(trained.inputs) - trained.model(base))[:, demo.MALIGNANT]
    assert torch.allclose(found.scores.sum(1), change, atol=0.05)
    assert torch.allclose(found.conductance.sum(1), change, atol=0.02 * float(change.abs().max()))
    malignant = trained.labels == demo.MALIGNANT
    assert found.scores[malignant].sum(1).mean() > 0 > found.scores[~malignant].sum(1).mean()
    first = demo.table(trained, found).splitlines()[1]
    assert first.split("  ")[0] in trained.names
