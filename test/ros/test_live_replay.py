"""One recording, played twice to both nodes by the command: the nodes and an evaluation come to equal results.

The nodes use the recording's time, perception records evidence, and the player records the outputs. At the end of the
first turn the clock jumps back. All tests share this one run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

import torch
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.serialization import deserialize_message
from std_msgs.msg import Float64

from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.config import HealthSettings, SupervisorSettings
from ls_ood_monitor.core.types import Alarm, AlarmState, FallbackMode
from ls_ood_monitor.evaluation.replay import FrameRecord, Replay
from ls_ood_monitor.parameter_file import VehicleSettings, read_parameters
from ls_ood_monitor.recordings.bags import bag_info, iter_arrivals, iter_raw
from ls_ood_monitor.recordings.events import Event
from ls_ood_monitor.recordings.recording import open_recording
from ls_ood_monitor.ros.conversions import alarms_of, values_of
from ls_ood_monitor.ros.observer import HeardDecision, MonitorObserver
from ls_ood_monitor.ros.processes import monitor_nodes, wait_until
from ls_ood_monitor.ros.runner import spinning
from ls_ood_monitor.street.scenario import Scenario, record_scenario
from ls_ood_monitor.wording import sentence

#: Clean, fog, clean again: long enough for the alarm to be raised, and cleared by five good frames.
SCENARIO = Scenario(cameras=("front",), duration_s=3.6, rate_hz=5.0, events=(Event("front", 0.8, 1.8, "fog"),))
#: Causes of a decision after the jump: the image's stamp went back, and so did that of its alarm.
CLOCK_BACK = ("clock_back", "alarm_out_of_order")
#: Slow enough for a busy machine to judge every frame.
RATE = 0.4
#: Silence is measured in real time, and the frames come 0.5 s apart.
SUPERVISOR = {"alarm_timeout_s": 5.0}
PERCEPTION = {"image_timeout_s": 10.0, "evidence_before_s": 2.0, "evidence_after_s": 2.0}


@dataclass
class Live:
    """What the run left."""

    bag: Path
    answers: Path
    evidence: Path
    code: int
    survivors: list[int | None]
    logs: str
    judged: dict[str, dict[str, int]]
    overtaken: int = 0

    def messages(self, topic: str, kind: type) -> list:
        """All messages of a topic, in order."""
        messages = [message for message in iter_raw(self.answers) if message.topic == topic]
        return [deserialize_message(message.data, kind) for message in messages]

    def alarms(self) -> list[Alarm]:
        """Alarms about frames, in order."""
        alarms = [alarms_of(message)[0] for message in self.messages("/perception_node/ood_alarm", DiagnosticArray)]
        return [alarm for alarm in alarms if alarm.stamp_ns > 0]

    def turns(self) -> tuple[list[Alarm], list[Alarm]]:
        """Alarms of the first turn and of the second, which begins with a stamp that went back."""
        alarms = self.alarms()
        back = next(index for index, alarm in enumerate(alarms) if alarm.fault == "clock_back")
        # The clock may jump while the last image is on its way; the image then lies ahead of the clock, which is a fault.
        self.overtaken = sum(alarm.fault == "clock_ahead" for alarm in alarms[:back])
        return [alarm for alarm in alarms[:back] if alarm.fault != "clock_ahead"], alarms[back:]

    def modes(self) -> list[tuple[FallbackMode, str]]:
        """Decisions one after the other, each with the reason it began with."""
        decided = map(HeardDecision.of, self.messages("/supervisor_node/state", DiagnosticArray))
        firsts = [next(run) for _, run in groupby(decided, key=lambda heard: heard.mode)]
        return [(heard.mode, heard.reason) for heard in firsts]


@pytest.fixture(scope="module")
def live(ros, tmp_path_factory) -> Live:
    """The run."""
    folder = tmp_path_factory.mktemp("live")
    bag, answers, evidence = folder / "bag", folder / "answers", folder / "evidence"
    evidence.mkdir()
    record_scenario(SCENARIO, bag, folder / "events.yaml")
    shared = {"cameras": ["front"], "use_sim_time": True}
    perception = {"autostart": True, "device": "cpu", "num_threads": 1, "evidence_dir": str(evidence), **PERCEPTION}
    command = [
        sys.executable,
        "-m",
        "ls_ood_monitor.cli.main",
        "play",
        str(bag),
        "--rate",
        str(RATE),
        "--clock",
        "--loop",
    ]
    command += ["--record", str(answers), "--record-pictures", "overlay", "--wait", "60"]
    command += ["--json", str(folder / "play.json")]
    with (
        spinning(MonitorObserver()) as observer,
        monitor_nodes(os.environ, folder, {**shared, **perception}, {**shared, **SUPERVISOR}) as (node, supervisor),
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as player,
    ):

        def is_over() -> bool:
            """The second turn is well under way, or there will be none."""
            decisions = observer.decisions()
            jumped = [index for index, decision in enumerate(decisions) if decision.because in CLOCK_BACK]
            modes = [decision.mode for decision in decisions[jumped[0] :]] if jumped else []
            return FallbackMode.NOMINAL in modes or None not in (player.poll(), node.poll())

        try:
            wait_until(is_over, "the second turn", 120.0)
        finally:
            player.send_signal(signal.SIGINT)
            printed, _ = player.communicate(timeout=30.0)
        survivors = [supervisor.poll(), node.poll()]
    logs = printed.decode() + (folder / "perception_node.log").read_text()
    judged = json.loads((folder / "play.json").read_text())["judged"] if player.returncode == 0 else {}
    return Live(bag, answers, evidence, player.returncode, survivors, logs, judged)


@pytest.fixture(scope="module")
def monitor():
    """The embedded bundle, on one thread as in the node."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield load_bundle(device="cpu")
    torch.set_num_threads(threads)


def replayed(monitor, bag: Path, settings: VehicleSettings, stamps=None) -> tuple[Replay, list[FrameRecord]]:
    """The evaluation of a bag; of the frames with these stamps alone, if they are given."""
    recording = open_recording(bag)
    replay = Replay(monitor, recording.cameras, settings, recording.begin_ns)
    chosen = (image for image in recording.read() if stamps is None or image.stamp_ns in stamps)
    images = list(replay.run(chosen))
    replay.finish(recording.end_ns)
    return replay, images


def settings_of_the_run() -> VehicleSettings:
    """What the nodes ran with."""
    supervisor = SupervisorSettings(**SUPERVISOR)
    return VehicleSettings(
        health=HealthSettings(), supervisor=supervisor, image_timeout_s=PERCEPTION["image_timeout_s"]
    )


def test_the_player_ends_cleanly_and_the_nodes_live(live):
    """Ctrl-C ends a loop with exit code 0 and a finished recording; neither node minds a clock that jumps back."""
    assert live.code == 0, live.logs
    assert live.survivors == [None, None]
    topics = {entry.topic: entry.messages for entry in bag_info(live.answers).topics}
    assert {"/perception_node/ood_alarm", "/supervisor_node/state", "/supervisor_node/stop", "/diagnostics"} <= set(
        topics
    )
    assert topics["/perception_node/front/overlay"] > 10
    scores = live.messages("/perception_node/front/ood_score", Float64)
    assert [score.data for score in scores] == [alarm.score for alarm in live.alarms() if not alarm.is_fault]
    assert live.judged == {"/perception_node/front/ood_score": {"alarms": len(scores), "scores": len(scores)}}
    assert "was lost on the way" not in live.logs


def test_scores_and_alarms_equal_those_of_an_evaluation(live, monitor):
    """Frame by frame the same score to the last bit and the same alarm; a frame that was not judged was counted as lost."""
    first, _ = live.turns()
    stamps = [image.stamp_ns for image in iter_arrivals(live.bag)]
    judged = [alarm.stamp_ns for alarm in first]
    assert judged == [stamp for stamp in stamps if stamp in judged]  # in order, none twice
    assert live.overtaken <= 1
    lost = len(stamps) - len(judged) - live.overtaken
    counted = [
        values_of(message.status[1])
        for message in live.messages("/diagnostics", DiagnosticArray)
        if len(message.status) > 2
    ]
    assert lost <= int(counted[-1]["dropped"]), live.logs
    replay, images = replayed(monitor, live.bag, settings_of_the_run(), set(judged))
    assert [image.alarm.score for image in images] == [alarm.score for alarm in first]
    assert [image.alarm.state for image in images] == [alarm.state for alarm in first]
    assert [image.alarm.threshold for image in images] == [alarm.threshold for alarm in first]
    assert {AlarmState.CLEAR, AlarmState.PENDING, AlarmState.RAISED} == {alarm.state for alarm in first}
    assert not [alarm for alarm in first if alarm.is_fault]  # late, by a clock of another time, would be one
    evaluated = [FallbackMode[mode] for mode, _ in groupby(replay.recorder.tables().decisions["mode"])]
    lived = [mode for mode, reason in live.modes()]
    assert lived[: len(evaluated)] == evaluated


def test_a_clock_that_jumps_back_stops_the_vehicle_until_it_is_clear(live):
    """The second turn begins with a fault and STOP; from the next good frame on scores are those of the first turn."""
    first, second = live.turns()
    assert second[0].fault == "clock_back"
    assert second[0].state is not AlarmState.CLEAR
    scores = {alarm.stamp_ns: alarm.score for alarm in first}
    again = [alarm for alarm in second[1:] if alarm.stamp_ns in scores]
    assert again
    assert all(alarm.score == scores[alarm.stamp_ns] for alarm in again)
    modes = live.modes()
    jumped = next(index for index, (_, reason) in enumerate(modes) if "went back" in reason)
    assert modes[jumped][0] is FallbackMode.STOP
    assert FallbackMode.NOMINAL in [mode for mode, _ in modes[max(0, jumped - 1 - live.overtaken) : jumped]]
    assert modes[jumped + 1][0] is FallbackMode.NOMINAL


def test_the_clip_of_an_alarm_reproduces_it(live, monitor):
    """An evaluation of the clip, with the parameters in it, raises the alarm at the same stamp by the same score."""
    clip = sorted(path.parent for path in live.evidence.glob("*/metadata.yaml"))[0]
    account = json.loads((clip / "clip.json").read_text())
    assert account["ended"] == "complete"
    assert account["bundle_sha256"] == monitor.bundle_id
    raised = account["raised"][0]
    heard = next(alarm for alarm in live.alarms() if alarm.state is AlarmState.RAISED)
    assert (raised["stamp_ns"], raised["score"]) == (heard.stamp_ns, heard.score)
    assert (raised["cause"], raised["reason"]) == (heard.cause.kind.value, sentence(heard.cause))
    settings = read_parameters(clip / "parameters.yaml")
    assert settings.image_timeout_s == PERCEPTION["image_timeout_s"]
    _, images = replayed(monitor, clip, settings)
    again = next(image.alarm for image in images if image.alarm.state is AlarmState.RAISED)
    assert (again.stamp_ns, again.score, again.cause) == (heard.stamp_ns, heard.score, heard.cause)
    sent = {image.stamp_ns: image.image for image in iter_arrivals(live.bag)}
    seen = {image.stamp_ns: image.image for image in iter_arrivals(clip)}
    assert min(seen) < heard.stamp_ns < max(seen)
    assert all(np.array_equal(picture, sent[stamp]) for stamp, picture in seen.items())
    overlay = cv2.imread(str(clip / raised["overlay"]))
    assert overlay.shape == sent[heard.stamp_ns].shape
    assert {entry.topic.rsplit("/", 1)[-1] for entry in bag_info(clip / "pictures").topics} == {
        "overlay",
        "anomaly_map",
    }
    evidence = [
        values_of(message.status[-1])
        for message in live.messages("/diagnostics", DiagnosticArray)
        if len(message.status) > 2
    ]
    assert int(evidence[-1]["lost"]) == 0
