"""ls-ood demo: how what the nodes published is judged, and the report of its recording."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy")

from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.cli.demo_verdict import live_samples, write_report
from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode
from ls_ood_monitor.evaluation.live import summarise_live
from ls_ood_monitor.evaluation.results import to_plain
from ls_ood_monitor.recordings.bags import FrameBagWriter
from ls_ood_monitor.recordings.events import Event
from ls_ood_monitor.ros.observer import HeardAlarm, HeardDecision, HeardStop
from ls_ood_monitor.street.scenario import Scenario


def test_the_stop_is_the_one_commanded_not_the_one_explained():
    """Where state and stop disagree, the samples follow the stop command, from the start of the recording to its end."""
    clear = Alarm("front", 1, AlarmState.CLEAR, 0.5, 1.0, Cause(CauseKind.IN_DISTRIBUTION, "front", 0.5, 1.0))
    observer = SimpleNamespace(
        alarms=lambda: [HeardAlarm(second * 10**9, clear, {"latency_ms": "50"}) for second in (1, 3)],
        decisions=lambda: [HeardDecision(3 * 10**9, FallbackMode.STOP, "why")],
        stops=lambda: [HeardStop(second * 10**9, second == 4) for second in (3, 4, 9)],
    )
    scores, modes, stops = live_samples(observer, 2 * 10**9, 5.0)
    assert [(sample.time_s, sample.score, sample.latency_ms) for sample in scores] == [(1.0, 0.5, 50.0)]
    assert [(sample.time_s, sample.mode, sample.reason) for sample in modes] == [(1.0, FallbackMode.STOP, "why")]
    assert [(sample.time_s, sample.stop) for sample in stops] == [(1.0, False), (2.0, True)]


def test_the_summary_states_the_judgement():
    """Whether the demo passed, and a sentence for each rule that was broken."""
    scenario = Scenario(cameras=("front",), duration_s=6.0, events=(Event("front", 2.0, 4.0, "fog"),))
    summary = to_plain(summarise_live(scenario.events, [], [], [], scenario.duration_s, "ab" * 32))
    assert summary["judgement"]["passed"] is False
    assert "fog on camera front at 2 s: no alarm was raised." in summary["judgement"]["failures"]


def test_the_demo_ends_with_the_report_of_its_recording(tmp_path, tiny_bundle, make_pictures):
    """The report states that the street is synthetic, uses the demo's bundle, and gives the command that reproduces it."""
    random = np.random.default_rng(0)
    with FrameBagWriter(tmp_path / "bag") as writer:
        for index, picture in enumerate(make_pictures(30, seed=5)):
            image = random.integers(0, 256, picture.shape, dtype=np.uint8) if 10 <= index < 20 else picture
            writer.write("front", image, 1_700_000_000 * 10**9 + index * 200_000_000)
    scenario = Scenario(cameras=("front",), duration_s=6.0, events=(Event("front", 2.0, 4.0, "fog"),))
    monitor = load_bundle(tiny_bundle, device="cpu")
    bag = tmp_path / "bag"
    path = write_report(tmp_path, bag, scenario, monitor, tiny_bundle, None, "cpu", lambda done, note="": None)
    assert path == tmp_path / "evaluation" / "report.html"
    text = re.sub(r"<script.*?</script>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert "everything here is synthetic" in text
    assert "offline evaluation of the recording" in text
    assert monitor.bundle_id in text
    assert "<td>1 of 1</td>" in text
    command = f"ls-ood evaluate {tmp_path}/bag --events {tmp_path}/events.yaml --bundle {tiny_bundle} --out"
    assert f"cd {Path.cwd()} &amp;&amp; {command}" in re.sub("</?span>", "", text)
