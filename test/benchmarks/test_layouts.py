"""The layouts as they are read, and the pictures that are drawn of them, from messages made up here."""

from __future__ import annotations

from math import nan
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray
from std_msgs.msg import Bool, Float64, Header

from ls_ood_monitor.core.supervision import CameraStatus
from ls_ood_monitor.core.types import Alarm, AlarmState, Decision, FallbackMode
from ls_ood_monitor.ros.conversions import alarm_message, decision_message, image_message, ns_to_stamp, status

CONFIG = Path(__file__).parents[2] / "config"
STAMP = ns_to_stamp(1_700_000_000_000_000_000)


@pytest.fixture(scope="module")
def layouts(script):
    return script("layouts")


def test_foxglove_panels_fill_the_window_once(layouts):
    """Their areas add up to the window, and no point of it belongs to two."""
    panels = layouts.read_foxglove(CONFIG / "foxglove_layout.json")
    assert len(panels) == 6
    assert sum(width * height for _, (_, _, width, height), _ in panels) == pytest.approx(1.0)
    for x, y in np.random.default_rng(0).random((200, 2)):
        hits = [
            panel
            for panel in panels
            if panel.place[0] <= x < panel.place[0] + panel.place[2]
            and panel.place[1] <= y < panel.place[1] + panel.place[3]
        ]
        assert len(hits) == 1


def test_a_message_path_finds_what_it_names(layouts):
    """Fields, all items, and those with a value; an unknown step is told."""
    alarm = alarm_message(Alarm("front", 1, AlarmState.CLEAR, 0.5, 2.0, "fine"), {}, "perception_node")
    path = '/perception_node/ood_alarm.status[:]{hardware_id=="front"}.values[:]{key=="threshold"}.value'
    assert layouts.foxglove_topic(path) == "/perception_node/ood_alarm"
    assert layouts.foxglove_values(path, alarm) == ["2.0"]
    assert layouts.foxglove_values(path.replace('"front"', '"left"'), alarm) == []
    assert layouts.foxglove_values("/supervisor_node/stop.data", Bool(data=True)) == [True]
    with pytest.raises(ValueError, match=r"'\[3\]' is no step"):
        layouts.foxglove_values("/a.status[3]", alarm)


def test_plotjuggler_series_are_the_numbers(layouts):
    """Named by topic, hardware id, status and key; texts are left out."""
    alarm = alarm_message(Alarm("front", 1, AlarmState.CLEAR, 0.5, 2.0, "fine"), {"latency_ms": 3.5}, "perception_node")
    series = layouts.plotjuggler_series("/a", alarm)
    assert series["/a/front/perception_node: ood front/latency_ms"] == 3.5
    assert "/a/front/perception_node: ood front/state" not in series
    assert layouts.plotjuggler_series("/stop", Bool(data=True)) == {"/stop/data": 1.0}
    layout = layouts.read_plotjuggler(CONFIG / "plotjuggler_layout.xml")
    assert sum(graph.share for graph in layout.graphs) == pytest.approx(1.0)
    assert [graph.is_steps for graph in layout.graphs] == [False, False, False, True]


def marker(text: str, height_m: float) -> SimpleNamespace:
    """What is drawn of a text marker; its type is not installed everywhere."""
    return SimpleNamespace(
        text=text,
        pose=SimpleNamespace(position=SimpleNamespace(z=height_m)),
        scale=SimpleNamespace(z=0.27),
        color=SimpleNamespace(r=1.0, g=0.3, b=0.3),
    )


@pytest.fixture
def heard() -> dict[str, list]:
    """Twenty seconds of one camera, out of distribution from the tenth on."""
    found: dict[str, list] = {}

    def say(at: float, topic: str, message) -> None:
        found.setdefault(topic, []).append((at, message))

    for step in range(100):
        at, is_bad = -20.0 + step / 5, step >= 50
        score, state = (3.0, AlarmState.RAISED) if is_bad else (0.5, AlarmState.CLEAR)
        mode = FallbackMode.STOP if is_bad else FallbackMode.NOMINAL
        alarm = Alarm("front", 1, state, score, 1.0, f"camera front: score {score}")
        say(at, "/perception_node/ood_alarm", alarm_message(alarm, {"latency_ms": 40.0}, "perception_node"))
        say(at, "/perception_node/front/ood_score", Float64(data=score))
        say(at, "/supervisor_node/stop", Bool(data=is_bad))
        camera = CameraStatus("front", mode, alarm.reason, 0.1)
        decided = decision_message(Decision(mode, alarm.reason, 0), [camera], 0, STAMP, "supervisor_node")
        say(at, "/supervisor_node/state", decided)
        if step % 5 == 0:
            say(at, "/diagnostics", decided)
            facts = {"rate_hz": 5.0, "dropped": 0, "age_s": nan}
            own = [
                status(b"\0", "perception_node: monitor", "perception", "running", {}),
                status(b"\2" if is_bad else b"\0", "perception_node: front", "front", alarm.reason, facts),
            ]
            say(at, "/diagnostics", DiagnosticArray(header=Header(stamp=STAMP), status=own))
    slope = np.linspace(0, 255, 64).astype(np.uint8)
    picture = np.stack([np.tile(slope, (48, 1))] * 3, axis=-1)
    for camera in ("front", "left"):
        say(0.0, f"/perception_node/{camera}/overlay", image_message(picture, Header(), "bgr8"))
        for name in ("anomaly_map", "confidence", "segmentation"):
            say(0.0, f"/perception_node/{camera}/{name}", image_message(picture[..., 0], Header(), "mono8"))
    texts = [marker("front: RAISED, score 3.00 x threshold", 0.8), marker("STOP: camera front:\nscore 3.0", 1.34)]
    say(0.0, "/rviz_status/markers", SimpleNamespace(markers=texts))
    return found


def test_each_layout_is_drawn_and_says_that_it_is_a_drawing(script, heard, tmp_path):
    """Four pictures, small enough for a page, each with the caption's colour at its foot and something above it."""
    paths = script("layout_drawing").draw_all(heard, CONFIG, tmp_path)
    assert [path.stem for path in paths] == ["view_rviz", "view_foxglove", "view_plotjuggler", "view_robot_monitor"]
    for path in paths:
        assert path.stat().st_size < 150_000
        picture = cv2.imread(str(path)).astype(int)
        assert picture.shape[1] == 1100
        assert np.abs(picture[-12, -20] - (0xE1, 0xF8, 0xFF)).max() < 12
        assert picture[:-30].std() > 20


def test_the_robot_monitor_puts_every_status_into_its_group(script, heard, monkeypatch):
    """Errors are listed above, once each; below, every status stands in the tree."""
    drawing = script("layout_drawing")
    said: list[str] = []
    draw = drawing.Sheet.text

    def text(self, x, y, words, *rest, **options):
        said.append(words)
        draw(self, x, y, words, *rest, **options)

    monkeypatch.setattr(drawing.Sheet, "text", text)
    drawing.draw_robot_monitor(heard, CONFIG / "examples" / "diagnostic_aggregator.yaml")
    errors, everything = said[: said.index("Warnings")], said[said.index("All devices") :]
    assert "/OoD monitor/Supervisor/supervisor_node: decision" in errors
    assert "/OoD monitor/Perception/perception_node: front" in errors
    assert not any("monitor: running" in words for words in errors)
    names = [
        "perception_node: monitor",
        "perception_node: front",
        "supervisor_node: decision",
        "supervisor_node: front",
    ]
    assert all(everything.count(name) == 1 for name in names)
