"""ls-ood demo: what it takes from the nodes."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.cli.demo import _on_axis, _write_report
from ls_ood_monitor.core.types import FallbackMode
from ls_ood_monitor.recordings.bags import FrameBagWriter
from ls_ood_monitor.recordings.events import Event
from ls_ood_monitor.street.scenario import Scenario


def test_the_stop_is_the_one_commanded_not_the_one_explained():
    """Where state and stop disagree, the judged samples follow the stop command, from the start of the recording to its end."""
    observer = SimpleNamespace(
        alarms=list,
        decisions=lambda: [SimpleNamespace(at_ns=3 * 10**9, mode=FallbackMode.STOP, reason="why")],
        stops=lambda: [SimpleNamespace(at_ns=second * 10**9, stop=second == 4) for second in (3, 4, 9)],
    )
    _, modes, stops = _on_axis(observer, 2 * 10**9, 5.0)
    assert [(one.time_s, one.mode, one.reason) for one in modes] == [(1.0, FallbackMode.STOP, "why")]
    assert [(one.time_s, one.stop) for one in stops] == [(1.0, False), (2.0, True)]


def test_the_demo_ends_with_the_report_of_its_recording(tmp_path, tiny_bundle, make_pictures):
    """It says what it is and that the street is synthetic, judges by the demo's bundle, and tells how to make it again."""
    random = np.random.default_rng(0)
    with FrameBagWriter(tmp_path / "bag") as writer:
        for index, picture in enumerate(make_pictures(30, seed=5)):
            image = random.integers(0, 256, picture.shape, dtype=np.uint8) if 10 <= index < 20 else picture
            writer.write("front", image, 1_700_000_000 * 10**9 + index * 200_000_000)
    scenario = Scenario(cameras=("front",), duration_s=6.0, events=(Event("front", 2.0, 4.0, "fog"),))
    monitor = load_bundle(tiny_bundle, device="cpu")
    args = SimpleNamespace(out=tmp_path, bundle=tiny_bundle, detector=None, device="cpu")
    path = _write_report(args, monitor, scenario, tmp_path / "bag")
    assert path == tmp_path / "evaluation" / "report.html"
    text = re.sub(r"<script.*?</script>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert "everything here is synthetic" in text
    assert "offline evaluation of the recording" in text
    assert monitor.bundle_id in text
    assert "<td>1 of 1</td>" in text
    command = f"ls-ood evaluate {tmp_path}/bag --events {tmp_path}/events.yaml --bundle {tiny_bundle} --out"
    assert f"cd {Path.cwd()} &amp;&amp; {command}" in re.sub("</?span>", "", text)
