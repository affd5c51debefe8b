"""What a person sees and does, in a real browser: on the page, in the file, in the notebook."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from captum.insights import Batch
from captum.insights.features import BaseFeature, FeatureOutput
from captum.insights.page import static
from captum.insights.session import Session

from .browser import Browser, Page, browsing
from .models import EVIL, cnn, general, images, multimodal, pictures

CARDS = "document.querySelectorAll('.card').length"
IDLE = "document.querySelector('.captum-insights').getAttribute('aria-busy') !== 'true'"
DONE = f"{CARDS} && !document.querySelector('.wait, .ask') && {IDLE}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture
def live(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    with images().serve() as server:
        page = browser.page(server.url, tmp_path)
        page.until(CARDS)
        yield page
        own = f"http://127.0.0.1:{server.port}/"
        assert set(page.requests()) <= {own, f"{own}ask"}
        assert page.complaints() == []


@pytest.fixture
def saved(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    visualizer = multimodal(classes=["x", EVIL, "z"])
    methods: list[Any] = ["IntegratedGradients", ("Saliency", {"abs": False})]
    path = visualizer.save(tmp_path / "page.html", methods, examples=6)
    page = browser.page(path.as_uri(), tmp_path)
    page.until(DONE)
    yield page
    assert page.requests() == [path.as_uri()]
    assert page.complaints() == []


def heats(page: Page) -> list[str]:
    return list(page.run("[...document.querySelectorAll('.heat')].map((image) => image.src)"))


def explain(page: Page) -> None:
    page.click("button.primary")
    page.until(DONE)


def downloaded(folder: Path, name: str) -> str:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if (folder / name).exists() and (folder / name).stat().st_size:
            return (folder / name).read_text(encoding="utf-8")
        time.sleep(0.05)
    raise TimeoutError(f"{name} was not downloaded: {list(folder.iterdir())}")


def test_nothing_is_calculated_until_it_is_asked_for(live: Page) -> None:
    assert live.count(".card") == 4
    assert live.count(".picture") == 4
    assert live.count(".ask") == 8
    live.click(".ask")
    live.until("document.querySelectorAll('.heat').length === 1")
    explain(live)
    assert live.count(".heat") == 8
    assert "scores sum to" in live.text(".cards")


def test_the_pictures_are_those_that_python_has(live: Page) -> None:
    explain(live)
    outputs = images().visualize()
    wanted = [output.feature_outputs[0].modified for each in outputs for output in each]
    assert heats(live) == wanted
    size = "document.querySelector('.heat').naturalWidth"
    assert live.run(size) == 8


def test_parameters_change_what_is_shown(live: Page) -> None:
    explain(live)
    before = heats(live)
    live.set("[id$='-method']", "riemann_left")
    live.set("[id$='-n_steps']", "1")
    live.until("document.querySelectorAll('.ask').length === 8")
    explain(live)
    assert heats(live) != before
    live.set("[id$='-method']", "gausslegendre")
    live.set("[id$='-n_steps']", "50")
    live.until(DONE)  # what is known is shown at once
    assert heats(live) == before


def test_bad_parameters_are_shown_in_place(live: Page) -> None:
    live.set("[id$='-n_steps']", "0")
    live.until("document.querySelector('[id$=n_steps-error]').innerText")
    assert "a whole number from 1 to 10000, not 0" in live.text("[id$='n_steps-error']")
    field = "document.querySelector('[id$=\"-n_steps\"]')"
    assert live.run(f"{field}.getAttribute('aria-invalid')") == "true"
    described = live.run(f"{field}.getAttribute('aria-describedby')").split()
    assert live.run(f"document.getElementById('{described[1]}').innerText")
    assert live.count(".ask") == 0
    live.click("button.primary")
    live.set("[id$='-n_steps']", "")
    live.until("document.querySelector('[id$=n_steps-error]').innerText.includes('nothing')")
    live.set("[id$='-n_steps']", "5")
    live.until("document.querySelectorAll('.ask').length === 8")
    assert live.text("[id$='n_steps-error']") == ""
    assert live.run(f"{field}.getAttribute('aria-invalid')") is None


def test_methods_stand_side_by_side(live: Page) -> None:
    live.set(".adder", "Saliency")
    live.set(".adder", "Occlusion")
    assert live.count(".method") == 3
    explain(live)
    assert live.count(".card:first-child .heat") == 6
    heads = live.text(".card:first-child .cells")
    assert heads.index("Integrated Gradients") < heads.index("Saliency") < heads.index("Occlusion")
    assert len(set(heats(live)[:6])) == 6
    live.click(".method:nth-child(2) .remove")
    assert live.count(".card:first-child .heat") == 4
    live.click(".method:first-child input[type=checkbox]")
    assert live.count(".card:first-child .heat") == 2


def test_models_stand_side_by_side(live: Page) -> None:
    assert "Sequential 1" in live.text(".card:first-child .cells")
    live.click("fieldset .check input")  # the first model
    assert live.count(".ask") == 4
    assert "Sequential 1" not in live.text(".cards")


def test_filters(live: Page) -> None:
    said = [[out.predicted[0].index for out in each] for each in images().visualize(examples=6)]
    names = lambda wanted: [f"Example {i + 1}" for i in wanted]  # noqa: E731
    shown = "[...document.querySelectorAll('h2')].map((node) => node.innerText)"

    def expect(wanted: list[int]) -> None:
        live.until(f"{shown}.join() === {json.dumps(','.join(names(wanted)))}")

    live.set(".controls fieldset:nth-of-type(3) label:last-of-type select", "16")
    expect(list(range(6)))
    choose = "fieldset:nth-of-type(3) > label:nth-of-type(1) select"
    live.set(choose, "wrong")
    expect([i for i in range(6) if said[i][0] != i % 3])
    live.set(choose, "right")
    expect([i for i in range(6) if said[i][0] == i % 3])
    live.set("fieldset:nth-of-type(3) > label:nth-of-type(2) select", "1")
    expect([i for i in range(6) if said[i][1] == i % 3])
    live.set(choose, "disagree")
    expect([i for i in range(6) if said[i][0] != said[i][1]])
    live.set(choose, "all")
    live.set("fieldset:nth-of-type(3) > label:nth-of-type(3) select", "label")
    live.click(".classes label:nth-child(2) input")
    expect([1, 4])


def test_pages(live: Page) -> None:
    live.click(".pager button:last-child")
    live.until("document.querySelector('h2').innerText === 'Example 5'")
    assert live.run("document.querySelector('.pager button:last-child').disabled")
    live.click(".pager button:first-child")
    live.until("document.querySelector('h2').innerText === 'Example 1'")
    assert live.run("document.querySelector('.pager button:first-child').disabled")


def test_another_class_is_explained_with_mouse_or_keyboard(live: Page) -> None:
    explain(live)
    before = heats(live)[0]
    pressed = "document.querySelector('.card .chip[aria-pressed=true] span').innerText"
    assert live.run(pressed) == "cat"
    live.click(".card .chip[aria-pressed=false]")
    live.until(f"{pressed} !== 'cat'")
    live.until(DONE)
    assert heats(live)[0] != before
    other = "document.querySelector('.card .chip[data-chip=\"0-0\"]')"
    live.run(f"{other}.focus()")
    live.press("Enter", 13)
    live.until(f"{pressed} === 'cat'")
    live.until(DONE)
    assert heats(live)[0] == before
    assert live.run(f"document.activeElement === {other}")


def test_export(live: Page, browser: Browser, tmp_path: Path) -> None:
    explain(live)
    wanted = heats(live)
    live.click(".exports button:first-child")
    downloaded(tmp_path, "insights.html")
    copy = browser.page((tmp_path / "insights.html").as_uri())
    copy.until(DONE)
    assert heats(copy) == wanted
    assert copy.count(".adder") == 0
    assert copy.complaints() == []
    live.click(".exports button:last-child")
    data = json.loads(downloaded(tmp_path, "insights.json"))
    assert len(data["answers"]) == 8
    assert data["answers"][0]["answer"]["features"][0]["modified"] == wanted[0]


def test_text_stays_text(live: Page, saved: Page) -> None:
    for page in (live, saved):
        assert page.run(f"document.body.innerText.includes({json.dumps(EVIL)})")
        assert page.count("img[src='x']") == 0
    words = "[...document.querySelectorAll('.words span')].map((node) => node.textContent)"
    assert EVIL in saved.run(words)


def test_a_saved_page_shows_everything_at_once(saved: Page) -> None:
    assert saved.count(".card") == 4
    assert saved.count(".card:first-child .heat") == 2
    assert saved.count(".card:first-child .words .for, .card:first-child .words .against") == 8
    shares = saved.run(
        "[...document.querySelectorAll('.card:first-child .share')].map((n) => n.innerText)"
    )
    first, second = (int(shares[i].split()[0]) + int(shares[i + 1].split()[0]) for i in (0, 2))
    assert {first, second} <= {99, 100, 101}  # each is rounded
    assert saved.run("document.querySelector('[id$=\"-n_steps\"]').disabled")


def test_a_saved_page_tells_two_settings_of_a_method_apart(
    browser: Browser, tmp_path: Path
) -> None:
    settings = [{"abs": value} for value in (True, False)]
    visualizer = images([cnn()])
    methods: list[Any] = [("Saliency", fields) for fields in settings]
    page = browser.page(visualizer.save(tmp_path / "two.html", methods, 1).as_uri())
    page.until(DONE)
    wanted = [visualizer.visualize(method=each, examples=1)[0][0] for each in methods]
    assert heats(page) == [output.feature_outputs[0].modified for output in wanted]
    assert len(set(heats(page))) == 2


def test_a_saved_page_filters_and_turns_pages(saved: Page) -> None:
    saved.click(".pager button:last-child")
    saved.until("document.querySelector('h2').innerText === 'Example 5'")
    saved.set("fieldset:nth-of-type(2) > label:nth-of-type(2) select", "label")
    saved.click(".classes label:nth-child(3) input")
    saved.until("document.querySelector('h2').innerText === 'Example 3'")
    assert saved.count(".card") == 2


def test_a_saved_page_says_what_it_does_not_hold(saved: Page) -> None:
    saved.click(".card .chip[aria-pressed=false]")
    saved.until("document.querySelector('.failure')")
    assert "not calculated when the file was saved" in saved.text(".card")


def test_the_numbers_of_a_saved_page(saved: Page, tmp_path: Path) -> None:
    saved.click(".exports button")
    data = json.loads(downloaded(tmp_path, "insights.json"))
    scores = data["answers"][0]["answer"]["features"][1]["modified"]
    [[output]] = multimodal().visualize(examples=1)
    assert scores == pytest.approx(output.feature_outputs[1].modified)


@pytest.mark.parametrize("width", [380, 700, 1300])
def test_it_fits_any_width(live: Page, width: int, tmp_path: Path) -> None:
    explain(live)
    live.picture(tmp_path / "page.png", width=width)
    assert live.run("document.documentElement.scrollWidth") <= width


def test_it_has_a_dark_side(live: Page, tmp_path: Path) -> None:
    ground = "getComputedStyle(document.querySelector('.captum-insights')).backgroundColor"
    seen = set()
    for dark in (False, True):
        live.picture(tmp_path / "page.png", dark=dark)
        seen.add(live.run(ground))
    assert len(seen) == 2


def test_every_control_has_a_name(live: Page) -> None:
    live.set(".adder", "Occlusion")
    explain(live)
    nodes = live.command("Accessibility.getFullAXTree")["nodes"]
    kinds = (
        "button",
        "combobox",
        "textbox",
        "checkbox",
        "spinbutton",
        "slider",
        "searchbox",
        "image",
    )
    controls = [
        node
        for node in nodes
        if not node.get("ignored") and node.get("role", {}).get("value") in kinds
    ]
    assert len(controls) > 40
    assert [node for node in controls if not node.get("name", {}).get("value")] == []


def test_stop_ends_the_work(browser: Browser) -> None:
    passes: list[int] = []
    model = cnn()

    def slow(x: torch.Tensor) -> torch.Tensor:
        passes.append(len(x))
        time.sleep(0.05)
        found: torch.Tensor = model(x)
        return found

    with images(slow).serve() as server:
        page = browser.page(server.url)
        page.until(CARDS)
        page.set(".adder", "ShapleyValueSampling")
        page.set("[id$='-n_samples']", "100000")
        page.set("[id$='-patch']", "1")
        page.click(".method:first-child input[type=checkbox]")
        page.click("button.primary")
        page.until("document.querySelector('.wait')?.innerText.includes('rows through the model')")
        assert page.run("document.querySelector('progress').max") == 4
        page.click(".working button")
        page.until("document.querySelectorAll('.ask').length === 4")
        page.until(IDLE)
        time.sleep(0.5)
        count = len(passes)
        time.sleep(0.3)
        assert len(passes) <= count + 1
        assert page.complaints() == []


def test_an_error_is_shown_where_it_belongs(browser: Browser) -> None:
    calls: list[int] = []

    def moody(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) > 4:
            raise ValueError("no mood\nfor that")
        return x.flatten(1)[:, :3]

    with images(moody).serve() as server:
        page = browser.page(server.url)
        page.until(CARDS)
        page.click(".ask")
        page.until("document.querySelector('.failure')")
        assert "no mood\nfor that" in page.text(".failure")
        assert page.count(".ask") == 3


def test_a_server_that_has_gone_is_told_of(browser: Browser) -> None:
    with images().serve() as server:
        page = browser.page(server.url)
        page.until(CARDS)
    page.click(".ask")
    page.until("document.querySelector('.failure')")
    assert "Python does not answer any more" in page.text(".failure")


def test_without_its_token_the_page_says_so(browser: Browser) -> None:
    with images().serve() as server:
        page = browser.page(server.url.partition("#")[0])
        page.until("document.querySelector('.failure')")
        assert "it ends in the token" in page.text()


def test_numbers_and_features_of_ones_own(browser: Browser, tmp_path: Path) -> None:
    class Own(BaseFeature):
        def visualization_type(self) -> str:
            return "__proto__"

        def visualize(self, attribution: Any, data: Any, contribution_frac: float) -> FeatureOutput:
            shown = {"<b>mean</b>": float(attribution.mean())}
            return FeatureOutput(self.name, EVIL, shown, "__proto__", contribution_frac)

    data = [Batch((torch.ones(2, 3), pictures(2)), None)]

    class Two(nn.Module):
        def forward(self, rows: torch.Tensor, photos: torch.Tensor) -> torch.Tensor:
            return torch.stack([rows.sum(1), photos.sum((1, 2, 3))], 1)

    first = general(nn.Linear(2, 2), torch.ones(1, 2), []).features[0]
    first.categories = ["a", "b", EVIL]
    visualizer = images(Two().eval(), features=[first, Own("own", None, None, None)], dataset=data)
    page = browser.page(visualizer.save(tmp_path / "own.html").as_uri())
    page.until(DONE)
    assert page.count(".numbers .bar") == 6
    assert page.text(".card:first-child .cell:last-child pre").startswith('{\n "<b>mean</b>"')
    assert page.run(f"document.querySelector('pre').textContent === {json.dumps(EVIL)}")
    assert page.complaints() == []


def test_the_widget_speaks_with_its_kernel(browser: Browser, tmp_path: Path) -> None:
    """anywidget's host is played by this test: what the page sends is answered by a session."""
    script = static("insights.js").replace("export default { render };", "window.render = render;")
    path = tmp_path / "widget.html"
    path.write_text(f"<body><div></div><script type=module>{script}</script>", encoding="utf-8")
    page = browser.page(path.as_uri())
    page.command("Runtime.addBinding", name="toPython")
    page.until("window.render")
    page.run(
        "window.hear = new Set();"
        "const send = (message) => toPython(JSON.stringify(message));"
        "const on = (_, listener) => hear.add(listener);"
        "const off = (_, listener) => hear.delete(listener);"
        "window.close = render({ el: document.querySelector('div'), model: { send, on, off } }); 0"
    )
    talk, answered = Session(images()._calculation, debug=True), 0

    def answer_until(script: str) -> None:
        nonlocal answered
        end = time.monotonic() + 15
        while not page.run(script):
            assert time.monotonic() < end, page.text()
            calls = page.mine("Runtime.bindingCalled")
            for call in calls[answered:]:
                talk.ask(json.loads(call["payload"]), hear)
            answered = len(calls)

    def hear(said: dict[str, Any]) -> None:
        page.run(f"hear.forEach((f) => f({json.dumps(said)})); 0")

    answer_until(CARDS)
    page.click("button.primary")
    answer_until(DONE)
    assert page.count(".heat") == 8
    page.set("[id$='-n_steps']", "0")
    answer_until("document.querySelector('[id$=n_steps-error]').innerText")
    page.run("window.close(); 0")
    assert page.run("hear.size") == 0
    assert page.complaints() == []
