"""The report in a real browser without a network: it draws, zooms, tells, and fits a desk and a phone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Page, sync_playwright

from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.evaluation.results import AcceptanceResult, Rule
from ls_ood_monitor.recordings.events import Event

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium or Chrome is on PATH; install one (Debian: apt install chromium)", allow_module_level=True)

EVENTS = tuple(Event("front", start, start + 3.0, f"fog {start:g}") for start in (12.0, 25.0, 37.0, 48.0, 55.0))


@dataclass
class Tab:
    """A page in a window without a network.

    Attributes:
        page: of playwright.
        complaints: exceptions and errors on the page's console.
        requests: addresses that the page asked for beyond files and data.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda entry: entry.type == "error" and self.complaints.append(entry.text))
        self.page.on("request", self._note)

    def _note(self, request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.requests.append(request.url)

    def evaluate(self, script: str) -> Any:
        """Value of a JavaScript expression."""
        return self.page.evaluate(script)

    def settle(self) -> None:
        """Wait until the browser has drawn twice."""
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript expression is true."""
        self.page.wait_for_function(condition, timeout=10_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium without a window."""
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=CHROMIUM) as browser:
        yield browser


@pytest.fixture
def open_page(browser) -> Iterator[Callable[..., Tab]]:
    """Load a file into a window of a size, which below 500 px is that of a phone with a touch screen."""
    contexts = []

    def load(path: Path, width: int, height: int) -> Tab:
        is_phone = width < 500
        size = {"width": width, "height": height}
        context = browser.new_context(viewport=size, is_mobile=is_phone, has_touch=is_phone, offline=True)
        contexts.append(context)
        tab = Tab(context.new_page())
        tab.page.goto(path.resolve().as_uri())
        tab.settle()
        return tab

    yield load
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def report(make_report, tell) -> Path:
    """A minute of two cameras with five events and a second of black pictures."""
    images = tell(600, EVENTS, faults=range(300, 310), cameras=("front", "left"))
    return make_report(images, EVENTS)


#: Smallest size, and smallest contrast with white (WCAG), of all text that is shown, plots included.
TEXT = """(() => {
  const luminance = colour => colour.match(/[0-9.]+/g).slice(0, 3).map(value => value / 255)
    .map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  let size = 1e9, contrast = 1e9;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.getClientRects().length || element.closest('.modebar')) continue;
    const style = getComputedStyle(element);
    size = Math.min(size, parseFloat(style.fontSize));
    const colour = element instanceof SVGElement ? style.fill : style.color;
    contrast = Math.min(contrast, 1.05 / (luminance(colour) + 0.05));
  }
  return [size, contrast];
})()"""


#: Tables that are wider than their boxes, so that their last columns are cut off.
SCROLLING = "[...document.querySelectorAll('.wide')].filter(one => one.scrollWidth > one.clientWidth).length"


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_it_opens_without_a_network_and_fits(open_page, report, width, height):
    """Nothing is asked for, nothing complains; every plot has points; no sideways scrolling; text of 11 px that can be read."""
    tab = open_page(report, width, height)
    assert tab.requests == []
    assert tab.complaints == []
    plots = tab.evaluate("document.querySelectorAll('.js-plotly-plot').length")
    marks = "plot => plot.querySelectorAll('.point, .js-line, .points path').length"
    drawn = tab.evaluate(f"[...document.querySelectorAll('.js-plotly-plot')].map({marks})")
    assert plots == 5
    assert min(drawn) > 0
    assert drawn[0] > 600
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.evaluate(SCROLLING) == 0
    smallest, contrast = tab.evaluate(TEXT)
    assert smallest >= 11.0
    assert contrast >= 4.5
    pictures = tab.evaluate("[...document.images].map(one => [one.naturalWidth > 0, one.alt.length > 20])")
    assert len(pictures) == 8
    assert all(all(pair) for pair in pictures)


def test_a_page_that_wants_the_network_is_found_out(open_page, tmp_path):
    """What the tests above rely on: a request, and an error of a script, are noticed."""
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='http://127.0.0.1:9/x.png'><script>nothing()</script>")
    tab = open_page(bad, 390, 844)
    assert tab.requests == ["http://127.0.0.1:9/x.png"]
    assert any("nothing is not defined" in complaint for complaint in tab.complaints)


def place_in_timeline(tab: Tab, across: float, up: float) -> tuple[float, float]:
    """A place in the first row of the timeline, by shares of its width and height, in the window."""
    tab.evaluate("document.querySelector('.js-plotly-plot').scrollIntoView()")
    box = tab.evaluate(
        "(({x, y, width, height}) => [x, y, width, height])"
        "(document.querySelector('.js-plotly-plot .nsewdrag[data-subplot=xy]').getBoundingClientRect())"
    )
    return box[0] + across * box[2], box[1] + up * box[3]


#: Stretches of time that the first and the last row show.
RANGES = "(({xaxis, xaxis4}) => [xaxis.range, xaxis4.range])(document.querySelector('.js-plotly-plot')._fullLayout)"


def time_range(tab: Tab) -> list[float]:
    """What stretch of time every row shows."""
    ranges = tab.evaluate(RANGES)
    assert ranges[0] == ranges[1]
    return ranges[0]


def test_dragging_zooms_into_all_rows_and_a_double_click_goes_back(open_page, report):
    """A drag over the middle fifth shows that stretch, in scores, input and command alike."""
    tab = open_page(report, 1280, 900)
    whole = time_range(tab)
    begin, end = place_in_timeline(tab, 0.4, 0.5), place_in_timeline(tab, 0.6, 0.5)
    tab.page.mouse.move(*begin)
    tab.page.mouse.down()
    tab.page.mouse.move(*end, steps=8)
    tab.page.mouse.up()
    tab.settle()
    zoomed = time_range(tab)
    length = whole[1] - whole[0]
    assert zoomed[0] == pytest.approx(whole[0] + 0.4 * length, abs=0.02 * length)
    assert zoomed[1] == pytest.approx(whole[0] + 0.6 * length, abs=0.02 * length)
    tab.page.mouse.dblclick(*place_in_timeline(tab, 0.5, 0.5))
    tab.wait_for(f"JSON.stringify({RANGES}[0]) == '{json.dumps(whole, separators=(',', ':'))}'")
    assert time_range(tab) == whole
    assert tab.complaints == []


def test_a_finger_scrolls_over_plots_and_buttons_zoom(open_page, report):
    """A swipe over the timeline moves the page and no axis; the phone is told how to zoom, and its buttons do."""
    tab = open_page(report, 390, 844)
    text = tab.evaluate("document.body.innerText")
    assert "Tap a point to read it" in text
    assert "Drag to zoom" not in text
    whole, before = time_range(tab), tab.evaluate("scrollY")
    middle = place_in_timeline(tab, 0.5, 0.5)
    scores = "document.querySelector('.js-plotly-plot')._fullLayout.yaxis.range"
    heights = tab.evaluate(scores)
    session = tab.page.context.new_cdp_session(tab.page)  # playwright itself has no gesture of a finger
    gesture = {"x": middle[0], "y": middle[1], "yDistance": -300.0, "gestureSourceType": "touch", "speed": 2000}
    session.send("Input.synthesizeScrollGesture", gesture)
    tab.settle()
    assert tab.evaluate("scrollY") > before + 200.0
    assert time_range(tab) == whole
    assert (
        tab.evaluate("[...document.querySelectorAll('.modebar')].map(one => getComputedStyle(one).opacity)")
        == ["1"] * 5
    )
    tab.evaluate("document.querySelector('.modebar-btn[data-val=in]').dispatchEvent(new MouseEvent('click'))")
    tab.wait_for(f"JSON.stringify({RANGES}[0]) != '{json.dumps(whole, separators=(',', ':'))}'")
    assert time_range(tab)[1] - time_range(tab)[0] < whole[1] - whole[0]
    assert tab.evaluate(scores) == heights
    tab = open_page(report, 1280, 900)
    text = tab.evaluate("document.body.innerText")
    assert "Tap a point" not in text
    assert "Drag to zoom" in text
    assert tab.complaints == []


def test_pointing_at_a_frame_tells_its_reason(open_page, report):
    """The tooltip has time, score over threshold and the alarm's sentence."""
    tab = open_page(report, 1280, 900)
    axes = "document.querySelector('.js-plotly-plot')._fullLayout"
    left, top = place_in_timeline(tab, 0.0, 0.0)
    # Image 250 is the first of an event: far from its neighbours.
    y = tab.evaluate(
        "document.querySelector('.js-plotly-plot')._fullData.find(one => one.name == 'alarm RAISED').y[30]"
    )
    across, up = tab.evaluate(f"[{axes}.xaxis.d2p(25.0), {axes}.yaxis.d2p({y})]")
    tab.page.mouse.move(left + across - 3, top + up - 3)
    tab.page.mouse.move(left + across, top + up)
    texts = "[...document.querySelectorAll('.hoverlayer .hovertext')].map(e => e.textContent).join()"
    tab.wait_for(f"{texts} != ''")
    text = tab.evaluate(texts)
    assert "25.00 s" in text
    assert "camera front: out of distribution, score " in text


@pytest.mark.parametrize("case", ["no events", "all faults", "one image", "one fault"])
def test_what_a_recording_lacks_is_said_and_nothing_breaks(open_page, make_report, tell, case):
    """Without events, without a score, and with a single image the page is whole."""
    images, words = {
        "no events": (tell(50), "nothing to rank"),
        "all faults": (tell(50, faults=range(50)), "No image could be judged, so there is no score to draw."),
        "one image": (tell(1), "Would not have stopped; no alarm."),
        "one fault": (tell(1, faults=range(1)), "The network was never asked."),
    }[case]
    tab = open_page(make_report(images), 390, 844)
    assert tab.complaints == []
    assert words in tab.evaluate("document.body.innerText")
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.evaluate("document.querySelectorAll('.js-plotly-plot .main-svg').length") > 0


#: Whether a word is broken within, or a row reaches out of the window; by the class of its cell.
CELLS = """(() => {
  const lines = cell => new Set([...(() => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return range.getClientRects();
  })()].map(box => Math.round(box.top))).size;
  const cells = [...document.querySelectorAll('td, th')].filter(cell => cell.getClientRects().length);
  return [
    Math.max(...cells.map(cell => cell.getBoundingClientRect().right)) <= innerWidth,
    cells.filter(cell => /^[0-9.]+\\u00a0s$/.test(cell.textContent) && lines(cell) > 1).length,
    cells.filter(cell => cell.textContent.includes('labels.')).map(cell => cell.getBoundingClientRect().width)
  ];
})()"""


def test_long_words_wrap_on_a_phone(open_page, make_report, tell):
    """Rule names, topics and errors break; no table reaches out, no time is torn; a rule's name has a line of its own."""
    topic = "/vehicle" * 12
    images = tell(60, faults=range(20, 30))
    cause = Cause(CauseKind.STALE, "front", 1.1, 1.0, topic)
    images = [
        replace(image, alarm=replace(image.alarm, cause=cause)) if image.alarm.is_fault else image for image in images
    ]
    rule = Rule("labels.something_long_in_the_way.max_time_to_stop_s", False, "never " * 20)
    path = make_report(images, name=f"drive{topic}", acceptance=AcceptanceResult(False, (rule,)))
    tab = open_page(path, 390, 844)
    assert tab.complaints == []
    fits, torn, widths = tab.evaluate(CELLS)
    assert fits
    assert tab.evaluate(SCROLLING) == 0
    assert torn == 0
    assert min(widths) > 300
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_strip_of_inputs_is_in_the_order_of_the_rows(open_page, report):
    """From above to below as the scores are."""
    tab = open_page(report, 1280, 900)
    labels = "[...document.querySelectorAll('.js-plotly-plot [class$=tick] text')]"
    places = tab.evaluate(
        f"{labels}.filter(one => ['front', 'left'].includes(one.textContent))"
        ".map(one => [one.textContent, one.getBoundingClientRect().top])"
    )
    assert [name for name, _ in sorted(places, key=lambda place: place[1])] == ["front", "left"]


def test_on_paper_plots_are_as_wide_as_the_page(open_page, report):
    """Before printing they are drawn again for paper, and for the window after it."""
    tab = open_page(report, 1280, 900)
    width = "Math.max(...[...document.querySelectorAll('.main-svg')].map(one => one.getBoundingClientRect().width))"
    before = tab.evaluate(width)
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    tab.settle()
    assert tab.evaluate(width) <= 700
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    tab.settle()
    assert tab.evaluate(width) == before
    assert tab.page.pdf().startswith(b"%PDF")
