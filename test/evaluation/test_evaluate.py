"""One recording from request to result: equal whoever does it, resumed, refused, and of damaged bags what is left."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest

pytest.importorskip("torch")
import torch

from ls_ood_monitor.evaluation.acceptance import Acceptance, EventLimits
from ls_ood_monitor.evaluation.evaluate import evaluate
from ls_ood_monitor.monitor import OodMonitor
from ls_ood_monitor.recordings.events import Event
from ls_ood_monitor.recordings.recording import open_recording


@pytest.fixture
def calls(monkeypatch) -> list[int]:
    """Stamps of the pictures that the network is asked for from now on."""
    stamps: list[int] = []
    process = OodMonitor.process

    def counted(self, frames):
        stamps.extend(frame.stamp_ns for frame in frames)
        return process(self, frames)

    monkeypatch.setattr(OodMonitor, "process", counted)
    return stamps


def test_the_figures_do_not_depend_on_threads(request_for, drives, figures, tmp_path):
    """One thread or three, table and summary are the same; torch has its own number of threads again afterwards."""
    before = torch.get_num_threads()
    for threads in (1, 3):
        result = evaluate(request_for(drives[0], tmp_path / str(threads)), threads=threads)
        assert result.error == ""
    assert figures(tmp_path / "1") == figures(tmp_path / "3")
    assert len(figures(tmp_path / "1")[0]) == 45
    assert torch.get_num_threads() == before


def test_requests_and_results_travel(request_for, drives, tmp_path):
    """Both are plain values: what is unpickled equals what was sent, the digest too."""
    request = request_for(drives[0], tmp_path / "out")
    again = pickle.loads(pickle.dumps(request))
    assert again == request
    assert again.digest == request.digest
    result = evaluate(again)
    assert pickle.loads(pickle.dumps(result)) == result


def test_a_killed_evaluation_goes_on(request_for, drives, figures, calls, tmp_path):
    """After SIGKILL at the 25th image, judged pictures are not judged again, and the outcome is that of an uninterrupted one."""
    whole = request_for(drives[0], tmp_path / "whole")
    evaluate(whole)
    request = request_for(drives[0], tmp_path / "killed")
    (tmp_path / "request").write_bytes(pickle.dumps(request))
    code = (
        "import os, pickle, signal, sys\n"
        "from ls_ood_monitor.evaluation.evaluate import evaluate\n"
        "request = pickle.load(open(sys.argv[1], 'rb'))\n"
        "evaluate(request, lambda done, note: done == 25 and os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "request")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert sorted(entry.name for entry in request.out.iterdir()) == [".unfinished"]
    calls.clear()
    result = evaluate(replace(request, run="second", resume=True))
    assert result.error == ""
    assert figures(request.out) == figures(whole.out)
    # The strangest frames are shown with the network's own picture of them, which is made anew.
    first = [int(row["stamp_ns"]) for row in figures(request.out)[0]][:25]
    assert len(set(calls) & set(first)) < 25 // 2
    assert len(set(calls) - set(first)) == 20
    assert not (request.out / ".unfinished").exists()


@pytest.mark.parametrize("damage", ["cut", "zeros", "nonsense"])
def test_a_damaged_end_of_the_unfinished_file_is_survived(request_for, drives, figures, calls, tmp_path, damage):
    """The damaged line is forgotten, those before it are used, and the outcome is right."""
    whole = request_for(drives[0], tmp_path / "whole")
    evaluate(whole)
    request = request_for(drives[0], tmp_path / "out")

    def interrupted(done, note):
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(request, interrupted)
    path = request.out / ".unfinished" / "network.jsonl"
    lines = path.read_bytes()
    assert lines.count(b"\n") == 31
    path.write_bytes({"cut": lines[:-7], "zeros": lines + bytes(100) + b"\n", "nonsense": lines + b"[1, 2]\n"}[damage])
    calls.clear()
    assert evaluate(replace(request, run="second", resume=True)).error == ""
    assert figures(request.out) == figures(whole.out)
    judged_first = [int(row["stamp_ns"]) for row in figures(request.out)[0]][30 - (damage == "cut") :]
    assert set(judged_first) <= set(calls)


def test_a_finished_recording_is_not_done_again(request_for, drives, calls, tmp_path):
    """With --resume and the very same request; other limits, or a recording that changed, are another request."""
    bag = shutil.copytree(drives[0], tmp_path / "bag")
    request = request_for(bag, tmp_path / "out")
    summary = evaluate(request).summary
    calls.clear()
    again = evaluate(replace(request, run="second", resume=True))
    assert (again.summary, calls) == (summary, [])  # the same type, read from its file
    assert "not done again" in again.notes[0]
    other = replace(request, resume=True, limits=replace(request.limits, stop_s=0.5))
    assert evaluate(other).notes == ()
    assert len(set(calls)) == 45
    os.utime(bag / "metadata.yaml", (1, 1))
    calls.clear()
    assert evaluate(replace(other, recording=open_recording(bag))).notes == ()
    assert len(set(calls)) == 45


def test_without_resume_nothing_is_remembered(request_for, drives, calls, tmp_path):
    """A finished recording is done again; what another command left unfinished is not used."""
    request = request_for(drives[0], tmp_path / "out")
    evaluate(request)
    calls.clear()
    evaluate(replace(request, run="second"))
    assert len(set(calls)) == 45


def test_the_former_result_stays_until_the_new_one_is_whole(request_for, drives, figures, tmp_path):
    """An interrupted evaluation leaves the files of the last one as they were."""
    request = request_for(drives[0], tmp_path / "out")
    evaluate(request)
    former = figures(request.out)

    def interrupted(done, note):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(replace(request, recording=open_recording(drives[1])), interrupted)
    assert figures(request.out) == former


def test_files_that_are_not_those_of_who_asks_are_refused(request_for, drives, tmp_path):
    """Another bundle, a recording that is gone or another one, another version, each in a sentence."""
    bag = shutil.copytree(drives[0], tmp_path / "bag")
    request = request_for(bag, tmp_path / "out")
    assert "was asked for; give every worker the same files" in evaluate(replace(request, bundle_id="0" * 64)).error
    assert "install the same version" in evaluate(replace(request, version="0.0.1")).error
    gone = replace(request, bundle=tmp_path / "nowhere")
    assert evaluate(gone).error.startswith(f"there is no {tmp_path / 'nowhere'} on ")
    os.utime(bag / "metadata.yaml", (1, 1))
    assert "is not the recording that was asked for" in evaluate(request).error
    shutil.rmtree(bag)
    result = evaluate(request)
    assert (result.summary, result.trace) == (None, "")
    assert "must see recordings, bundle and --out under the same paths" in result.error


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_of_a_recording_without_its_end_the_rest_is_judged(request_for, write_drive, figures, tmp_path, storage):
    """Each image that is left is judged as in the whole recording, and the silence of the lost part is not judged."""
    bag = write_drive(tmp_path / "bag", 90, storage=storage)
    evaluate(request_for(bag, tmp_path / "whole"))
    path = next(entry for entry in bag.iterdir() if entry.suffix in (".db3", ".mcap"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = evaluate(request_for(bag, tmp_path / "half"))
    rows, summary = figures(tmp_path / "half")
    assert 25 < len(rows) < 60
    assert rows == figures(tmp_path / "whole")[0][: len(rows)]
    assert summary["duration_s"] == pytest.approx(float(rows[-1]["time_s"]), abs=1e-6)
    lost = f"{90 - len(rows)} of the 90 images that bag should hold cannot be read"
    assert lost in summary["truncated"]
    assert f"ends at {float(rows[-1]['time_s']):.1f} s" in summary["truncated"]
    assert result.notes == (f"{summary['truncated']} The rest is judged.",)


@pytest.mark.parametrize("allowed", [False, True])
def test_a_damaged_recording_does_not_pass_unseen(request_for, write_drive, tmp_path, allowed):
    """It breaks a rule of its own, or is accepted in words; a label whose event is lost is broken, not forgotten."""
    bag = write_drive(tmp_path / "bag", storage="sqlite3")
    path = next(bag.glob("*.db3"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    truth = (Event("front", 1.5, 1.8, "noise"), Event("front", 4.2, 4.4, "late"))
    labels = {"late": EventLimits(min_events_detected=1.0)}
    accepted = (
        Acceptance(max_false_alarms=99, allow_damaged=allowed),
        Acceptance(allow_damaged=allowed, labels=labels),
    )
    for acceptance, passed in zip(accepted, (allowed, False), strict=True):
        result = evaluate(request_for(bag, tmp_path / "out", acceptance=acceptance, events=truth))
        assert result.summary.acceptance.passed == passed, result
        assert any("late on front, 4.2 to 4.4 s, begins after the end at" in note for note in result.notes)
        suite = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()
        assert "45 images" in suite.findtext("system-out")
        assert "damaged" in suite.findtext("system-out")
        assert "late on front, 4.2 to 4.4 s, begins after the end at" in suite.findtext("system-out")
        assert "late on front, 4.2 to 4.4 s, begins after the end at" in result.summary.truncated
        assert not result.summary.judgement.passed
        assert "late on front at 4.2 s could not be judged" in result.summary.judgement.failures
        damage = result.summary.acceptance.rules[0]
        assert (damage.name, damage.passed) == ("whole recording", allowed)


def test_an_event_that_outlasts_the_recording_stands_until_its_end(request_for, drives, tmp_path):
    """With a note; whether the vehicle would have gone on after it nobody knows, so it is not said that it did not."""
    request = request_for(drives[0], tmp_path / "out", events=(Event("front", 1.5, 60.0, "noise"),))
    result = evaluate(replace(request, acceptance=Acceptance(max_time_to_release_s=9.0, max_time_to_stop_s=1.0)))
    assert result.notes == ("noise on front, 1.5 to 60 s, lasts beyond the end at 4.4 s, and is judged until there.",)
    assert result.summary.events[0].end_s == result.summary.duration_s == pytest.approx(4.4)
    assert result.summary.decision.not_released == 0
    sentences = {rule.name: rule.sentence for rule in result.summary.acceptance.rules}
    assert "not measured in this recording" in sentences["max_time_to_release_s"]
    assert "not measured" not in sentences["max_time_to_stop_s"]
    of_set = evaluate(
        replace(request, acceptance=Acceptance(max_time_to_release_s=9.0, max_time_to_stop_s=1.0), of_set=True)
    )
    assert [rule.name for rule in of_set.summary.acceptance.rules] == ["max_time_to_stop_s"]


@pytest.mark.parametrize("truth", [None, (Event("left", 1.4, 4.4, "cable pulled"),)])
def test_a_camera_that_stops_is_told_of_in_every_file(request_for, write_drive, figures, tmp_path, truth):
    """Its alarm is in the table ten times a second from a second after its last image on; without the event it is false."""
    bag = write_drive(tmp_path / "bag", beside=("left", range(15)))
    summary = evaluate(request_for(bag, tmp_path / "out", events=truth)).summary
    rows, _ = figures(tmp_path / "out")
    silent = [row for row in rows if row["fault"] == "stale"]
    assert len(rows) == 45 + 15 + len(silent)
    assert [float(row["time_s"]) for row in silent] == pytest.approx([2.5 + 0.1 * n for n in range(20)])
    assert {(row["camera"], row["stamp_ns"], row["alarm"], row["score"]) for row in silent} == {
        ("left", "0", "RAISED", "nan")
    }
    assert rows == sorted(rows, key=lambda row: float(row["time_s"]))
    assert (summary.frames, summary.faults["stale"]) == (60, 20)
    assert (summary.silences[0].camera, len(summary.silences)) == ("left", 1)
    rises = 0
    for camera in ("front", "left"):
        states = [row["alarm"] for row in rows if row["camera"] == camera]
        rises += sum(pair[0] != "RAISED" == pair[1] for pair in pairwise(states))
    assert rises == 2  # noise in front, silence on the left
    if truth is None:
        assert summary.alarms.false == 1  # the two rise within 5 s: one burst
        assert summary.alarms.false_per_hour.events == 1
    else:
        assert (summary.alarms.detected, summary.alarms.false) == (1, 1)
        assert summary.events[0].alarm_delay_s == pytest.approx(1.1, abs=0.01)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "silent: alarm RAISED" in page
    assert "no image for 3.0 s (limit 1.00 s) on /left/image" in page
