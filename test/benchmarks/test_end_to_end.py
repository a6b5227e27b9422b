"""The end-to-end benchmark: its processes, and a short run of it against the real nodes that looks at no time."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from math import isnan, nan
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

import arrival_log
import arrivals
import camera_source
import end_to_end
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import Alarm, AlarmState
from ls_ood_monitor.ros.conversions import alarm_message, image_message, ns_to_stamp, stamp_to_ns, status

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "end_to_end.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_short_run_passes(tmp_path):
    """Real processes over DDS: alarms belong to images, in order, and the withheld images are counted as lost."""
    out = tmp_path / "figures.json"
    done = run("--short", "--json", str(out), "--logs", str(tmp_path / "logs"))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["complaints"] == []
    assert report["fast_dds_profile"] == "fastdds_large_images.xml"
    lost = report["short"]
    assert lost["published"] == 20
    assert lost["silent"] >= 5  # every fourth was withheld
    assert lost["judged"] >= 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cases", "9cam-*"], "fits none of 1cam-640x483-raw-10hz"),
        (["--spoil", "locusts"], "must be black or one of fog"),
        (["--bundle", "/no/where"], "there is no such folder"),
        (["--json", "/no/where/x.json"], "a folder that exists"),
        (["--set", "engine"], "takes name=value"),
        (["--seconds", "-1"], "above 0"),
    ],
)
def test_bad_usage_is_one_sentence(arguments, words):
    """Exit 2 before anything is started."""
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_node_that_refuses_its_parameters_ends_the_run_with_its_own_words(tmp_path):
    """The sentence of perception_node is handed on."""
    done = run("--short", "--set", "num_threads=-3")
    assert done.returncode == 2
    assert "perception_node ended with 2" in done.stderr
    assert "num_threads" in done.stderr
    assert "Traceback" not in done.stderr


def test_cases_are_chosen_by_name():
    """All sixteen, or those whose names fit; the rates of one setup stay together."""
    assert sum(map(len, end_to_end.chosen_cases([]).values())) == 16
    chosen = end_to_end.chosen_cases(["4cam-*-jpeg-30hz"])
    assert [setup.name for setup in chosen] == ["4cam-640x483-jpeg", "4cam-1280x966-jpeg"]
    assert list(chosen.values()) == [[30.0], [30.0]]


def test_parameters_keep_their_types():
    """As YAML reads them, so that the node gets numbers as numbers; a broken pair is refused."""
    assert end_to_end.parameter("engine=onnx") == ("engine", "onnx")
    assert end_to_end.parameter("num_threads=1") == ("num_threads", 1)
    assert end_to_end.parameter("class_table=true") == ("class_table", True)
    with pytest.raises(argparse.ArgumentTypeError, match="name=value"):
        end_to_end.parameter("=1")


def test_the_file_holds_no_nan():
    """What is not known is null, at any depth."""
    assert end_to_end.without_nan({"a": [1.0, nan, {"b": nan}], "c": "nan"}) == {
        "a": [1.0, None, {"b": None}],
        "c": "nan",
    }


class FakeCamera:
    def __init__(self, name):
        self.name, self.calls = name, []

    def send(self, number, spoil, withhold):
        self.calls.append((number, spoil, withhold))
        return time.time_ns(), spoil and self.name == "front"


def test_the_source_keeps_number_and_moment_of_its_images():
    """Every camera in every tick, phases as long as asked, each image at its moment, one of so many withheld."""
    cameras, phases = [FakeCamera("front"), FakeCamera("left")], []
    plan = {"rate_hz": 50.0, "phases": [["warm", 0.1, False], ["spoiled", 0.2, True]], "withhold": 5}
    begin = time.monotonic()
    published = camera_source.run_plan(plan, cameras, 7, lambda event, **values: phases.append(values["name"]))
    assert time.monotonic() - begin >= 0.3
    assert phases == ["warm", "spoiled", ""]
    assert len(published) == 2 * 15
    assert [image.phase for image in published[::2]] == ["warm"] * 5 + ["spoiled"] * 10
    assert [image.sent for image in published[::2]] == [tick % 5 != 4 for tick in range(15)]
    assert [number for number, *_ in cameras[0].calls] == list(range(7, 22))
    assert {image.camera for image in published if image.spoiled} == {"front"}
    assert min(image.late_ms for image in published) >= 0.0


def test_spoiled_pictures_differ_from_clean_ones():
    """Black is black, and an anomaly changes the picture."""
    picture = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    assert not camera_source.spoiled(picture, "black").any()
    assert (camera_source.spoiled(picture, "fog") != picture).mean() > 0.5


def test_the_log_reads_stamps_without_reading_the_picture():
    """The stamp of a serialised image, and of one from a machine of the other byte order."""
    header = Header(stamp=ns_to_stamp(1_234_567_890_123_456_789), frame_id="front")
    data = serialize_message(image_message(np.zeros((4, 6), np.uint8), header, "mono8"))
    stamp_of = arrival_log.stamp_of
    assert stamp_of(data) == stamp_to_ns(header.stamp)
    swapped = bytes([0, 0]) + data[2:4] + data[4:8][::-1] + data[8:12][::-1]
    assert stamp_of(swapped) == stamp_to_ns(header.stamp)


def test_the_log_notes_alarms_of_images_and_the_nodes_counts():
    """Score, fault and times as the node publishes them; an alarm of silence has no image and is left out."""
    alarm = Alarm("front", 77, AlarmState.CLEAR, 0.25, 1.0, Cause(CauseKind.IN_DISTRIBUTION, "front", 0.25, 1.0))
    row = arrival_log.alarm_rows(alarm_message(alarm, {"latency_ms": 12.5}, "perception_node"), 99)[0]
    assert (row.at_ns, row.camera, row.stamp_ns, row.score, row.latency_ms) == (99, "front", 77, 0.25, 12.5)
    assert isnan(row.network_ms)
    times = {"latency_ms": 12.5, "network_ms": 11.0, "decode_ms": 1.0, "send_ms": 0.25}
    row = arrival_log.alarm_rows(alarm_message(alarm, times, "perception_node"), 99)[0]
    assert (row.network_ms, row.decode_ms, row.send_ms) == (11.0, 1.0, 0.25)
    silent = Alarm("front", 0, AlarmState.RAISED, nan, nan, Cause(CauseKind.STALE, "front", 1.1, 1.0))
    assert arrival_log.alarm_rows(alarm_message(silent, {}, "perception_node"), 99) == []
    message = alarm_message(alarm, {}, "perception_node")
    message.status = [
        status(b"\x00", "perception_node: monitor", "perception", "running", {}),
        status(b"\x00", "perception_node: front", "front", "clear", {"frames": 12, "dropped": 3}),
        status(b"\x00", "supervisor_node: front", "front", "clear", {"frames": 99, "dropped": 9}),
    ]
    assert arrival_log.count_rows(message, 5) == [arrivals.Counts(5, "front", 12, 3)]
