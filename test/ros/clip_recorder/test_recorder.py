"""Clips on a real disk: what is in them, and that a disk which is full, gone or stuck costs clips and nothing else."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.serialization import deserialize_message
from std_msgs.msg import Header, String

from ls_ood_monitor.config import EvidenceSettings
from ls_ood_monitor.core.causes import Cause, CauseKind
from ls_ood_monitor.core.types import Alarm, AlarmState, Frame, FrameResult
from ls_ood_monitor.errors import DataError
from ls_ood_monitor.recordings.bags import bag_info, iter_arrivals, iter_raw
from ls_ood_monitor.ros.clip_recorder.clip_folder import ClipFolder
from ls_ood_monitor.ros.clip_recorder.clip_store import WRITER, ClipStore, bytes_of, check_evidence
from ls_ood_monitor.ros.clip_recorder.items import CameraTopics, RecordedNode
from ls_ood_monitor.ros.clip_recorder.recorder import ClipRecorder
from ls_ood_monitor.ros.conversions import alarm_message, image_message, ns_to_stamp, values_of
from ls_ood_monitor.ros.processes import wait_until
from ls_ood_monitor.ros.worker import Arrival

START = 1_700_000_000 * 10**9
PERIOD = 10**8
CAMERAS = ("front", "left")
IMAGE = "sensor_msgs/msg/Image"


class Vehicle:
    """Hands the recorder what perception would publish about each image; its clock moves with the images alone."""

    def __init__(self, folder: Path, open_clip=ClipFolder, stuck_s=2.0, **settings) -> None:
        self.clock_ns, self.dropped, self.log = START, 0, []
        self.random = np.random.default_rng(0)
        self.sent: dict[str, list[np.ndarray]] = {camera: [] for camera in CAMERAS}
        topics = {
            name: CameraTopics(f"/{name}/image", IMAGE, f"/p/{name}/ood_score", f"/p/{name}/overlay", f"/p/{name}/map")
            for name in CAMERAS
        }
        facts = {"bundle_sha256": "ab" * 32, "parameters": {"/**/p": {"ros__parameters": {"cameras": list(CAMERAS)}}}}
        values = {"evidence_after_s": 0.3, "evidence_fault_gap_s": 0.0, **settings}
        self.recorder = ClipRecorder(
            EvidenceSettings(evidence_dir=str(folder), **values),
            RecordedNode(facts, topics, "/p/ood_alarm", "/p/configuration", 0.5),
            lambda: self.clock_ns,
            lambda camera: self.dropped,
            lambda sentence, is_warning: self.log.append((sentence, is_warning)),
            open_clip=open_clip,
            stuck_s=stuck_s,
        )

    def judge(self, state: AlarmState, camera: str = "front", fault: CauseKind | None = None, size=(48, 64)) -> int:
        """One image, a tenth of a second later; returns its stamp."""
        self.clock_ns += PERIOD
        stamp_ns = self.clock_ns - PERIOD // 2
        picture = self.random.integers(0, 256, (*size, 3), dtype=np.uint8)
        self.sent[camera].append(picture)
        image = image_message(picture, Header(stamp=ns_to_stamp(stamp_ns), frame_id="lens"), "bgr8")
        score = float("nan") if fault else 3.0 if state is AlarmState.RAISED else 0.5
        kind = fault or (CauseKind.SUDDEN if score > 1.0 else CauseKind.IN_DISTRIBUTION)
        alarm = Alarm(camera, stamp_ns, state, score, 1.0, Cause(kind, camera, score, 1.0))
        result = None
        if not fault:
            mask = np.ones(size, np.uint8)
            frame = Frame(picture, stamp_ns, camera)
            result = FrameResult(
                frame, score, 1.0, "spatial", {}, np.full((6, 8), score, np.float32), segmentation=mask, confidence=mask
            )
        arrival = Arrival(camera, image, time.monotonic_ns(), self.clock_ns)
        self.recorder.on_alarm(alarm, alarm_message(alarm, {}, "p"), arrival, result)
        if result is not None:
            self.recorder.on_result(camera, result)
        return stamp_ns

    def silence(self, camera: str = "front") -> None:
        """An alarm without an image."""
        nan = float("nan")
        alarm = Alarm(camera, 0, AlarmState.RAISED, nan, nan, Cause(CauseKind.STALE, camera, 1.0, 0.5))
        self.recorder.on_alarm(alarm, alarm_message(alarm, {}, "p"))

    def drive(self, clean: int = 5, bad: int = 3) -> int:
        """Clean images, then bad ones; returns the stamp at which the alarm was raised."""
        for _ in range(clean):
            self.judge(AlarmState.CLEAR)
        for _ in range(bad - 1):
            self.judge(AlarmState.PENDING)
        return self.judge(AlarmState.RAISED)

    @property
    def status(self) -> DiagnosticStatus:
        """As in /diagnostics."""
        return self.recorder.status("p")

    def count(self, name: str) -> int:
        """A number of the status."""
        return int(values_of(self.status)[name])

    @property
    def memory_mb(self) -> float:
        """Memory of the recorder, by its status."""
        return float(values_of(self.status)["memory_mb"])


@pytest.fixture
def vehicle(tmp_path):
    """Make a recorder on ``tmp_path``; closed after the test."""
    made: list[Vehicle] = []

    def make(folder: Path = tmp_path, **settings) -> Vehicle:
        made.append(Vehicle(folder, **settings))
        return made[-1]

    yield make
    for car in made:
        assert car.recorder.close()


def clips(folder: Path) -> list[Path]:
    """Finished clips, oldest first."""
    return sorted(path.parent for path in folder.glob("*/metadata.yaml"))


def account_of(clip: Path) -> dict:
    """The clip's ``clip.json``."""
    return json.loads((clip / "clip.json").read_text())


def test_a_clip_holds_images_alarms_scores_pictures_and_configuration(vehicle, tmp_path):
    """Bytes and times of the images are those that came; the freeze frame is a picture; every file can be read."""
    car = vehicle()
    car.dropped = 4
    car.judge(AlarmState.CLEAR, "left")
    stamp_ns = car.drive()
    car.dropped = 6
    car.judge(AlarmState.RAISED)
    wait_until(lambda: car.count("written") == 1, "the clip")
    (clip,) = clips(tmp_path)
    arrivals = [image for image in iter_arrivals(clip) if image.camera == "front"]
    assert [image.topic for image in arrivals] == ["/front/image"] * 9
    assert all(np.array_equal(image.image, sent) for image, sent in zip(arrivals, car.sent["front"], strict=True))
    assert [image.received_ns for image in arrivals] == [START + (n + 2) * PERIOD for n in range(9)]
    topics = {entry.topic: entry.messages for entry in bag_info(clip).topics}
    assert topics == {
        "/front/image": 9, "/left/image": 1, "/p/ood_alarm": 10, "/p/front/ood_score": 9, "/p/left/ood_score": 1,
        "/p/configuration": 1,
    }  # fmt: skip
    configuration = next(message.data for message in iter_raw(clip) if message.topic == "/p/configuration")
    assert json.loads(deserialize_message(configuration, String).data)["bundle_sha256"] == "ab" * 32
    account = account_of(clip)
    assert account["ended"] == "complete"
    (raised,) = account["raised"]
    assert (raised["camera"], raised["stamp_ns"], raised["score"]) == ("front", stamp_ns, 3.0)
    assert raised["cause"] == "sudden"
    assert raised["reason"] == "camera front: out of distribution, score 3.00 above threshold 1.00"
    assert cv2.imread(str(clip / raised["overlay"])).shape == (48, 64, 3)
    assert cv2.imread(str(clip / raised["anomaly_map"]), cv2.IMREAD_UNCHANGED).shape == (48, 64)
    assert account["images"]["front"]["images"] == 9
    assert account["images"]["front"]["not_judged"] == 2
    assert {entry.topic for entry in bag_info(clip / "pictures").topics} == {"/p/front/overlay", "/p/front/map"}
    assert yaml.safe_load((clip / "parameters.yaml").read_text())["/**/p"]["ros__parameters"]["cameras"] == [
        "front",
        "left",
    ]
    assert car.status.level == DiagnosticStatus.OK


def test_a_fault_and_a_silence_are_recorded_too(vehicle, tmp_path):
    """A frame that could not be judged gives its picture as it is; a silence gives the images before it."""
    car = vehicle()
    for _ in range(3):
        car.judge(AlarmState.CLEAR)
    car.judge(AlarmState.RAISED, fault=CauseKind.BLACK)
    car.silence("left")
    wait_until(lambda: car.count("written") == 1, "the clip")
    (clip,) = clips(tmp_path)
    black, stale = account_of(clip)["raised"]
    assert (black["fault"], black["cause"], black["score"]) == ("black", "black", None)
    assert cv2.imread(str(clip / black["picture"])).shape == (48, 64, 3)
    assert (stale["fault"], stale["camera"]) == ("stale", "left")
    assert "picture" not in stale


def test_a_node_without_images_records_nothing(vehicle, tmp_path):
    """Cameras that never sent anything are raised, but there is nothing to see."""
    car = vehicle()
    for camera in CAMERAS:
        car.silence(camera)
    assert car.recorder.close()
    assert list(tmp_path.iterdir()) == []


def test_a_jump_of_the_clock_ends_a_clip_and_begins_another_time(vehicle, tmp_path):
    """A recording that loops: no clip holds two times, so each lasts no longer than what it shows."""
    car = vehicle()
    car.drive()
    car.clock_ns = START
    car.judge(AlarmState.CLEAR)
    car.drive(clean=2)
    wait_until(lambda: car.count("written") == 2, "both clips")
    assert sorted(account_of(clip)["ended"].split(":")[0] for clip in clips(tmp_path)) == ["complete", "cut"]
    for clip in clips(tmp_path):
        assert bag_info(clip).duration_s < 1.0
        assert len(account_of(clip)["raised"]) == 1


def test_ending_the_node_finishes_the_clip(vehicle, tmp_path):
    """Deactivated in the middle of the time after an alarm, the clip is complete up to there."""
    car = vehicle(evidence_after_s=300.0)
    car.drive()
    assert car.recorder.close()
    (clip,) = clips(tmp_path)
    assert account_of(clip)["ended"].startswith("cut")
    assert account_of(clip)["images"]["front"]["images"] == 8


def test_the_oldest_clips_make_room_and_nothing_else_does(vehicle, tmp_path):
    """Of clips of 0.4 MB two fit into 1 MB; what others keep in the folder stays, whatever it looks like."""
    foreign = tmp_path / "00000000T000000Z_front"
    foreign.mkdir()
    (foreign / "clip.json").write_text('{"writer": "somebody"}')
    car = vehicle(evidence_max_mb=1.0, evidence_after_s=0.0)
    drive_clips(car, 4)
    assert foreign.exists()
    left = clips(tmp_path)
    assert 1 <= len(left) < 4
    assert bytes_of(tmp_path) <= 1_050_000
    removed = [sentence for sentence, _ in car.log if "was removed" in sentence]
    assert len(removed) == 4 - len(left)


def stubborn(monkeypatch, part: str) -> None:
    """Files whose path has this part cannot be removed, by root neither."""
    remove = os.unlink

    def unlink(path, *rest, **options):
        if part in str(path):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)
        return remove(path, *rest, **options)

    monkeypatch.setattr(os, "unlink", unlink)


def drive_clips(car: Vehicle, count: int) -> None:
    """So many clips of 0.4 MB, one after the other, each written or failed."""
    for _ in range(count):
        done = car.count("written") + car.count("failed")
        for _ in range(4):
            car.judge(AlarmState.CLEAR, size=(128, 160))
        car.judge(AlarmState.RAISED, size=(128, 160))
        car.judge(AlarmState.CLEAR)
        wait_until(lambda done=done: car.count("written") + car.count("failed") > done, "a clip")
        car.clock_ns -= 10**9  # the next clip does not hold this one's images
        time.sleep(0.01)


def test_a_clip_that_cannot_be_removed_costs_others_and_never_the_bound(vehicle, tmp_path, monkeypatch):
    """The oldest resists: newer ones go instead, and /diagnostics names it, until somebody has removed it."""
    car = vehicle(evidence_max_mb=1.0, evidence_after_s=0.0)
    drive_clips(car, 1)
    (oldest,) = clips(tmp_path)
    with monkeypatch.context() as patch:
        stubborn(patch, f"{oldest.name}/")
        drive_clips(car, 3)
    left = clips(tmp_path)
    assert left[0] == oldest
    assert bytes_of(tmp_path) <= 1_050_000
    assert car.count("failed") == 0
    assert car.status.level == DiagnosticStatus.WARN
    assert f"clip {oldest} cannot be removed (Operation not permitted); remove it by hand" in car.status.message
    shutil.rmtree(oldest)
    wait_until(lambda: car.status.level == DiagnosticStatus.OK, "an end of the warning")


def test_clips_that_cannot_be_removed_end_the_recording_of_new_ones(vehicle, tmp_path, monkeypatch):
    """Where nothing makes room nothing is written, /diagnostics says why, and alarms go on."""
    car = vehicle(evidence_max_mb=1.0, evidence_after_s=0.0)
    drive_clips(car, 2)
    with monkeypatch.context() as patch:
        stubborn(patch, ".mcap")
        drive_clips(car, 3)
        wait_until(lambda: car.count("failed") >= 1, "a failure")
        assert bytes_of(tmp_path) <= 1_050_000
        assert car.status.level == DiagnosticStatus.WARN
        assert "evidence_max_mb is used up, and clip" in car.status.message
    drive_clips(car, 1)
    wait_until(lambda: car.status.level == DiagnosticStatus.OK, "an end of the warning")
    assert bytes_of(tmp_path) <= 1_050_000


def test_clips_that_somebody_else_removes_are_no_trouble(tmp_path, monkeypatch):
    """A clip that is gone, or goes while it is looked at or removed, counts for nothing and is not called removed for room."""
    log = []
    store = ClipStore(tmp_path, 1_000_000, lambda sentence, is_warning: log.append(sentence))
    names = [tmp_path / f"2026112{number}_front" for number in range(3)]
    for path in names:
        path.mkdir()
        (path / "clip.json").write_text(json.dumps({"writer": WRITER}))
        (path / "a.mcap").write_bytes(bytes(300_000))
    store.refresh()
    assert store.clips == 3
    shutil.rmtree(names[0])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda self, **options: (patch.undo(), shutil.rmtree(names[1]), os.unlink(self)))
        assert store.make_room(tmp_path / "new", 900_000)
    assert not names[1].exists()
    assert log == [f"clip {names[2]} was removed: the disk space of clips is used up (evidence_max_mb)"]
    assert store.bytes == 900_000
    assert store.problem == ""


def test_a_clip_larger_than_the_disk_space_is_cut(vehicle, tmp_path):
    """It ends where the space ends, says so, and can be read."""
    car = vehicle(evidence_max_mb=1.0)
    car.judge(AlarmState.CLEAR, size=(300, 400))
    for _ in range(4):
        car.judge(AlarmState.RAISED, size=(300, 400))
    wait_until(lambda: car.count("written") == 1, "the clip")
    (clip,) = clips(tmp_path)
    assert "evidence_max_mb" in account_of(clip)["ended"]
    assert len(list(iter_arrivals(clip))) >= 1


def test_too_little_memory_shortens_a_clip_and_it_says_so(vehicle, tmp_path):
    """Of 20 images of 0.36 MB only the newest fit into 1 MB; the clip tells how many it has."""
    car = vehicle(evidence_max_memory_mb=1.0)
    for _ in range(20):
        car.judge(AlarmState.CLEAR, size=(300, 400))
    car.judge(AlarmState.PENDING)
    car.judge(AlarmState.RAISED)
    wait_until(lambda: car.count("written") == 1, "the clip")
    (clip,) = clips(tmp_path)
    assert account_of(clip)["images"]["front"]["images"] == len(list(iter_arrivals(clip))) == 4


def test_a_folder_that_vanishes_is_a_warning_until_it_is_back(vehicle, tmp_path):
    """The alarm without a folder has no clip; /diagnostics says why before the next one; then clips go on."""
    folder = tmp_path / "disk"
    folder.mkdir()
    car = vehicle(folder)
    shutil.rmtree(folder)
    car.drive()
    wait_until(lambda: car.count("failed") == 1, "the failure")
    assert car.status.level == DiagnosticStatus.WARN
    assert "not a folder that exists" in car.status.message
    folder.mkdir()
    car.drive()
    wait_until(lambda: car.count("written") == 1, "the clip")
    wait_until(lambda: car.status.level == DiagnosticStatus.OK, "an end of the warning")
    assert len(clips(folder)) == 1


def test_a_disk_that_takes_no_more_is_a_warning(vehicle, tmp_path):
    """A write that fails in the middle of a clip ends the clip, not the recorder; what was written stays."""
    car = vehicle()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limit[1]))
    try:
        for _ in range(3):
            car.judge(AlarmState.CLEAR, size=(300, 400))
        car.judge(AlarmState.RAISED, size=(300, 400))
        wait_until(lambda: car.count("failed") == 1, "the failure")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert car.status.level == DiagnosticStatus.WARN
    assert "File too large" in car.status.message
    (unfinished,) = tmp_path.glob("*/clip.json")
    assert json.loads(unfinished.read_text())["ended"].startswith("unfinished")
    car.drive()
    wait_until(lambda: car.count("written") == 1, "the next clip")
    assert car.status.level == DiagnosticStatus.OK


class StuckDisk:
    """Makes clips whose writes wait until ``released`` is set."""

    def __init__(self) -> None:
        self.released = released = threading.Event()

        class StuckClip(ClipFolder):
            def write(self, entry) -> None:
                assert released.wait(30.0)
                super().write(entry)

        self.open_clip = StuckClip


def test_a_disk_that_stands_still_delays_nobody(vehicle):
    """While one write is stuck, alarms are taken in, memory stays bounded, and the loss is counted."""
    disk = StuckDisk()
    car = vehicle(open_clip=disk.open_clip, stuck_s=0.05, evidence_max_memory_mb=1.0, evidence_after_s=300.0)
    car.drive()
    for _ in range(30):
        car.judge(AlarmState.RAISED, size=(300, 400))
    assert car.memory_mb <= 1.0
    assert car.count("lost") > 30
    wait_until(lambda: "one write to the disk has taken" in car.status.message, "the warning")
    disk.released.set()


def test_a_second_recorder_waits_until_the_first_has_let_go(vehicle, tmp_path):
    """Activated again while the disk is stuck: one recorder writes after the other, and the first frees its memory."""
    disk = StuckDisk()
    first = vehicle(open_clip=disk.open_clip, stuck_s=0.05, evidence_after_s=300.0)
    first.drive()
    wait_until(lambda: "one write to the disk has taken" in first.status.message, "the stuck write")
    assert not first.recorder.close(0.1)
    assert first.memory_mb == 0.0
    second = vehicle(stuck_s=0.05)
    second.drive()
    wait_until(lambda: "one write to the disk has taken" in second.status.message, "the warning")
    assert len(list(tmp_path.iterdir())) == 1  # the first one's
    disk.released.set()
    wait_until(lambda: second.count("written") == 1, "the clip")
    assert first.recorder.close()
    assert [account_of(clip)["ended"] for clip in clips(tmp_path)] == ["complete"]
    third = vehicle()
    assert second.recorder.close()
    third.drive()
    wait_until(lambda: third.count("written") == 1, "the next clip")


def test_a_recorder_that_never_had_its_turn_ends(vehicle):
    """Deactivated while it waits for the earlier recorder, it does not outlive the node."""
    disk = StuckDisk()
    first = vehicle(open_clip=disk.open_clip)
    first.drive()
    second = vehicle()
    assert second.recorder.close(2.0)
    disk.released.set()


def test_a_folder_that_cannot_be_used_is_refused(tmp_path):
    """Missing, a file, not writable: each has its sentence."""
    file = tmp_path / "file"
    file.touch()
    for path in (tmp_path / "absent", file):
        with pytest.raises(DataError, match="not a folder that exists; make it, or mount its disk"):
            check_evidence(path)
    check_evidence(tmp_path)
    with pytest.raises(DataError, match="'/proc' cannot be written"):
        check_evidence(Path("/proc"))


def test_the_document_names_every_parameter():
    """docs/evidence.md explains all of them."""
    text = (Path(__file__).parents[3] / "docs" / "evidence.md").read_text(encoding="utf-8")
    assert [name for name in EvidenceSettings.__dataclass_fields__ if f"`{name}`" not in text] == []
