"""The report in a real browser without a network: it draws, zooms, tells, and fits a desk and a phone."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tornado")

from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.evaluation.results import AcceptanceResult, Rule
from ls_ood_monitor.recordings.events import Event

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "headless_browser.py"
EVENTS = tuple(Event("front", start, start + 3.0, f"fog {start:g}") for start in (12.0, 25.0, 37.0, 48.0, 55.0))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """One tab of a browser of its own."""
    spec = importlib.util.spec_from_file_location("headless_browser", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if module.find_browser() is None:
        pytest.skip("no Chromium or Chrome on PATH; install one, or name it in LS_OOD_BROWSER")
    with module.Page(tmp_path_factory.mktemp("profile")) as opened:
        yield opened
    del sys.modules[spec.name]


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
def test_it_opens_without_a_network_and_fits(page, report, width, height):
    """Nothing is asked for, nothing complains; every plot has points; no sideways scrolling; text of 11 px that can be read."""
    page.open(report, width, height)
    assert page.requests == []
    assert page.complaints == []
    plots = page.evaluate("document.querySelectorAll('.js-plotly-plot').length")
    marks = "plot => plot.querySelectorAll('.point, .js-line, .points path').length"
    drawn = page.evaluate(f"[...document.querySelectorAll('.js-plotly-plot')].map({marks})")
    assert plots == 5
    assert min(drawn) > 0
    assert drawn[0] > 600
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(SCROLLING) == 0
    smallest, contrast = page.evaluate(TEXT)
    assert smallest >= 11.0
    assert contrast >= 4.5
    pictures = page.evaluate("[...document.images].map(one => [one.naturalWidth > 0, one.alt.length > 20])")
    assert len(pictures) == 8
    assert all(all(pair) for pair in pictures)


def test_a_page_that_wants_the_network_is_found_out(page, tmp_path):
    """What the tests above rely on: a request, and an error of a script, are noticed."""
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='http://127.0.0.1:9/x.png'><script>nothing()</script>")
    page.open(bad, 390, 844)
    assert page.requests == ["http://127.0.0.1:9/x.png"]
    assert any("nothing is not defined" in complaint for complaint in page.complaints)
    page.requests.clear()
    page.complaints.clear()


def place_in_timeline(page, across: float, up: float) -> tuple[float, float]:
    """A place in the first row of the timeline, by shares of its width and height, in the window."""
    page.evaluate("document.querySelector('.js-plotly-plot').scrollIntoView()")
    box = page.evaluate(
        "(({x, y, width, height}) => [x, y, width, height])"
        "(document.querySelector('.js-plotly-plot .nsewdrag[data-subplot=xy]').getBoundingClientRect())"
    )
    return box[0] + across * box[2], box[1] + up * box[3]


def time_range(page) -> list[float]:
    """What stretch of time every row shows."""
    layout = "document.querySelector('.js-plotly-plot')._fullLayout"
    ranges = page.evaluate(f"[{layout}.xaxis.range, {layout}.xaxis4.range]")
    assert ranges[0] == ranges[1]
    return ranges[0]


def test_dragging_zooms_into_all_rows_and_a_double_click_goes_back(page, report):
    """A drag over the middle fifth shows that stretch, in scores, input and command alike."""
    page.open(report, 1280, 900)
    whole = time_range(page)
    page.drag(place_in_timeline(page, 0.4, 0.5), place_in_timeline(page, 0.6, 0.5))
    zoomed = time_range(page)
    length = whole[1] - whole[0]
    assert zoomed[0] == pytest.approx(whole[0] + 0.4 * length, abs=0.02 * length)
    assert zoomed[1] == pytest.approx(whole[0] + 0.6 * length, abs=0.02 * length)
    middle = place_in_timeline(page, 0.5, 0.5)
    for _ in range(2):
        page.mouse("mousePressed", *middle, "left")
        page.mouse("mouseReleased", *middle, "left")
    for _ in range(100):
        page.settle()
        if time_range(page) == whole:
            break
    assert time_range(page) == whole
    assert page.complaints == []


def test_a_finger_scrolls_over_plots_and_buttons_zoom(page, report):
    """A swipe over the timeline moves the page and no axis; the phone is told how to zoom, and its buttons do."""
    page.open(report, 390, 844)
    told = page.evaluate("document.body.innerText")
    assert "Tap a point to read it" in told
    assert "Drag to zoom" not in told
    whole, before = time_range(page), page.evaluate("scrollY")
    middle = place_in_timeline(page, 0.5, 0.5)
    scores = "document.querySelector('.js-plotly-plot')._fullLayout.yaxis.range"
    heights = page.evaluate(scores)
    page.swipe(middle, 300.0)
    assert page.evaluate("scrollY") > before + 200.0
    assert time_range(page) == whole
    assert (
        page.evaluate("[...document.querySelectorAll('.modebar')].map(one => getComputedStyle(one).opacity)")
        == ["1"] * 5
    )
    page.evaluate("document.querySelector('.modebar-btn[data-val=in]').dispatchEvent(new MouseEvent('click'))")
    for _ in range(100):
        page.settle()
        if time_range(page) != whole:
            break
    assert time_range(page)[1] - time_range(page)[0] < whole[1] - whole[0]
    assert page.evaluate(scores) == heights
    page.open(report, 1280, 900)
    told = page.evaluate("document.body.innerText")
    assert "Tap a point" not in told
    assert "Drag to zoom" in told
    assert page.complaints == []


def test_pointing_at_a_frame_tells_its_reason(page, report):
    """The tooltip has time, score over threshold and the alarm's sentence."""
    page.open(report, 1280, 900)
    axes = "document.querySelector('.js-plotly-plot')._fullLayout"
    left, top = place_in_timeline(page, 0.0, 0.0)
    # Image 250 is the first of an event: far from its neighbours.
    y = page.evaluate(
        "document.querySelector('.js-plotly-plot')._fullData.find(one => one.name == 'alarm RAISED').y[30]"
    )
    across, up = page.evaluate(f"[{axes}.xaxis.d2p(25.0), {axes}.yaxis.d2p({y})]")
    page.mouse("mouseMoved", left + across - 3, top + up - 3)
    page.mouse("mouseMoved", left + across, top + up)
    for _ in range(100):
        page.settle()
        text = page.evaluate("[...document.querySelectorAll('.hoverlayer .hovertext')].map(e => e.textContent).join()")
        if text:
            break
    assert "25.00 s" in text
    assert "camera front: out of distribution, score " in text


@pytest.mark.parametrize("case", ["no events", "all faults", "one image", "one fault"])
def test_what_a_recording_lacks_is_said_and_nothing_breaks(page, make_report, tell, case):
    """Without events, without a score, and with a single image the page is whole."""
    images, words = {
        "no events": (tell(50), "nothing to rank"),
        "all faults": (tell(50, faults=range(50)), "No image could be judged, so there is no score to draw."),
        "one image": (tell(1), "Would not have stopped; no alarm."),
        "one fault": (tell(1, faults=range(1)), "The network was never asked."),
    }[case]
    page.open(make_report(images), 390, 844)
    assert page.complaints == []
    assert words in page.evaluate("document.body.innerText")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.querySelectorAll('.js-plotly-plot .main-svg').length") > 0


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


def test_long_words_wrap_on_a_phone(page, make_report, tell):
    """Rule names, topics and errors break; no table reaches out, no time is torn; a rule's name has a line of its own."""
    topic = "/vehicle" * 12
    images = tell(60, faults=range(20, 30))
    cause = Cause(CauseKind.STALE, "front", 1.1, 1.0, topic)
    images = [
        replace(image, alarm=replace(image.alarm, cause=cause)) if image.alarm.is_fault else image for image in images
    ]
    rule = Rule("labels.something_long_in_the_way.max_time_to_stop_s", False, "never " * 20)
    path = make_report(images, name=f"drive{topic}", acceptance=AcceptanceResult(False, (rule,)))
    page.open(path, 390, 844)
    assert page.complaints == []
    fits, torn, widths = page.evaluate(CELLS)
    assert fits
    assert page.evaluate(SCROLLING) == 0
    assert torn == 0
    assert min(widths) > 300
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_strip_of_inputs_is_in_the_order_of_the_rows(page, report):
    """From above to below as the scores are."""
    page.open(report, 1280, 900)
    labels = "[...document.querySelectorAll('.js-plotly-plot [class$=tick] text')]"
    places = page.evaluate(
        f"{labels}.filter(one => ['front', 'left'].includes(one.textContent))"
        ".map(one => [one.textContent, one.getBoundingClientRect().top])"
    )
    assert [name for name, _ in sorted(places, key=lambda place: place[1])] == ["front", "left"]


def test_on_paper_plots_are_as_wide_as_the_page(page, report):
    """Before printing they are drawn again for paper, and for the window after it."""
    page.open(report, 1280, 900)
    width = "Math.max(...[...document.querySelectorAll('.main-svg')].map(one => one.getBoundingClientRect().width))"
    before = page.evaluate(width)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.settle()
    assert page.evaluate(width) <= 700
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.settle()
    assert page.evaluate(width) == before
    assert page.pdf().startswith(b"%PDF")
