"""ls-ood evaluate: recording in, verdict out; the files, the exit codes, and what bad input gets."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sys
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from ls_ood_monitor.recordings.bags import FrameBagWriter
from ls_ood_monitor.recordings.events import Event, write_events

START = 1_700_000_000 * 10**9


@pytest.fixture(scope="module")
def bag(tmp_path_factory, make_pictures):
    """6 s of one camera at 10 Hz: pictures like those the tiny bundle knows, noise from 3 to 4.5 s; with its events."""
    folder = tmp_path_factory.mktemp("recordings")
    random = np.random.default_rng(0)
    with FrameBagWriter(folder / "drive") as writer:
        for index, picture in enumerate(make_pictures(60, seed=5)):
            noisy = 30 <= index < 45
            image = random.integers(0, 256, picture.shape, dtype=np.uint8) if noisy else picture
            writer.write("front", image, START + index * 10**8)
    write_events((Event("front", 3.0, 4.5, "noise"),), folder / "drive.events.yaml")
    return folder / "drive"


@pytest.fixture
def evaluate(ls_ood, tiny_bundle, tmp_path):
    """Run the command on the tiny bundle, with alarms for noise alone; returns the process and the folder."""

    def run(*arguments):
        settings = tmp_path / "monitor.yaml"
        settings.write_text("perception_node: {ros__parameters: {trigger_consecutive_frames: 3}}\n")
        out = tmp_path / "out"
        done = ls_ood(
            "evaluate", *arguments, "--bundle", tiny_bundle, "--device", "cpu", "--parameters", settings, "--out", out
        )
        return done, out

    return run


def test_a_recording_gives_a_verdict_and_its_files(evaluate, bag):
    """The event is found beside the bag, detected and stopped for; the table has every image; the picture is one."""
    done, out = evaluate(bag, "--release-within", "2")
    assert done.returncode == 0, done.stderr
    assert "noise on front at 3 s: alarm after 0.20 s" in done.stdout
    assert "of all events: alarm after 0.20 s (median), STOP in " in done.stdout
    assert "Would have stopped once" in done.stdout
    assert done.stdout.endswith(f"  report: {out / 'report.html'}\n")
    assert f"drive: judged by the events of {bag.with_name('drive.events.yaml')}, which lies beside it." in done.stderr
    assert re.search(
        r"  STOP 3.20 to 4.[0-9]+ s: camera front: out of distribution, score .* above threshold", done.stdout
    )
    assert "  0 false alarms: 0.0 an hour" in done.stdout
    summary = json.loads((out / "summary.json").read_text())
    assert summary["truth"] == "events"
    assert summary["frames"] == 60
    assert summary["alarms"]["detected"] == 1
    assert summary["ood"]["ood_above_threshold"] == 1.0
    assert summary["acceptance"]["passed"] is None
    assert [stop["start_up"] for stop in summary["stops"]] == [True, False]
    assert summary["alarms"]["raised"] == 1
    origin = summary["provenance"]
    assert origin["events_file"] == str(bag.with_name("drive.events.yaml"))
    assert origin["recording"]["path"] == str(bag)
    assert origin["recording"]["format"] == "ROS 2 bag (sqlite3)"
    assert origin["parameters"]["perception_node"]["trigger_consecutive_frames"] == 3
    assert origin["environment"]["versions"]["torch"]
    assert (origin["network"]["device"], origin["network"]["precision"]) == ("cpu", "fp32")
    rows = list(csv.DictReader((out / "frames.csv").open()))
    assert len(rows) == 60
    assert {row["alarm"] for row in rows[32:45]} == {"RAISED"}
    assert {row["decision"] for row in rows[32:45]} == {"STOP"}
    assert all(float(row["score"]) == float(row["score.multistage"]) for row in rows)
    assert cv2.imread(str(out / "timeline.png")) is not None
    assert not (out / "junit.xml").exists()


def test_the_same_recording_gives_the_same_figures(evaluate, bag):
    """But for the time that it took."""
    tables = []
    for _ in range(2):
        _, out = evaluate(bag)
        rows = list(csv.DictReader((out / "frames.csv").open()))
        tables.append([{key: value for key, value in row.items() if key != "latency_ms"} for row in rows])
    assert tables[0] == tables[1]


@pytest.mark.parametrize(("limit", "code"), [(0.5, 0), (0.1, 1)])
def test_acceptance_decides_the_exit_code(evaluate, bag, tmp_path, limit, code):
    """Kept: 0. Broken: 1, with the rule in the output and in junit.xml."""
    limits = tmp_path / "limits.yaml"
    limits.write_text(f"max_time_to_stop_s: {limit}\nmin_events_detected: 1.0\n")
    done, out = evaluate(bag, "--acceptance", limits)
    assert done.returncode == code, done.stderr
    assert ("ACCEPTANCE BROKEN" in done.stdout) == bool(code)
    suite = ElementTree.parse(out / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", str(code), "0")
    assert json.loads((out / "summary.json").read_text())["acceptance"]["passed"] == (not code)


def test_the_former_names_of_options_are_understood(evaluate, bag, tmp_path):
    """--gate and --resume-within, which the help does not name any more."""
    (tmp_path / "limits.yaml").write_text("max_faults: 0\n")
    done, out = evaluate(bag, "--gate", tmp_path / "limits.yaml", "--resume-within", "1.5")
    assert "ACCEPTANCE PASSED" in done.stdout
    judged = json.loads((out / "summary.json").read_text())["provenance"]["parameters"]["judgement"]
    assert judged["release_within_s"] == 1.5


def test_several_recordings_have_a_folder_each(evaluate, bag, make_pictures, tmp_path):
    """A folder of pictures beside the bag: one camera, no events, so every alarm counts as false."""
    pictures = tmp_path / "stills"
    pictures.mkdir()
    for index, picture in enumerate(make_pictures(5, seed=9)):
        cv2.imwrite(str(pictures / f"{index:03d}.png"), picture)
    # Each takes its own options: the topic is the bag's, the rate the pictures'.
    done, out = evaluate(
        bag, pictures, "--json", tmp_path / "all.json", "--topic", "/front/image=front", "--rate", "10"
    )
    assert done.returncode == 0, done.stderr
    assert (out / "drive" / "summary.json").exists()
    summary = json.loads((tmp_path / "all.json").read_text())["stills"]
    assert summary["frames"] == 5
    assert summary["truth"].startswith("none")
    assert summary["provenance"]["recording"]["rate_hz"] == 10.0
    assert "stills: it has no events, so every alarm counts as false; a file that holds [] says" in done.stderr
    pooled = json.loads((out / "summary.json").read_text())
    assert pooled == json.loads((tmp_path / "all.json").read_text())["pool"]
    assert (pooled["frames"], len(pooled["events"]), pooled["acceptance"]["passed"]) == (65, 1, None)
    assert "2 of 2 recordings together: 65 images of front" in done.stdout
    assert "alarm at 1 of 1 events, longest time to STOP 0.20 s" in done.stdout
    page = (out / "report.html").read_text(encoding="utf-8")
    assert all(
        (out / name / "report.html").is_file() and f"'{name}/report.html'" in page for name in ("drive", "stills")
    )
    assert not (out / "junit.xml").exists()


def test_a_file_is_no_folder_for_results(ls_ood, bag, tmp_path):
    """It is named with its option, and stays."""
    (tmp_path / "notes.txt").write_text("mine")
    done = ls_ood("evaluate", bag, "--out", tmp_path / "notes.txt")
    assert done.returncode == 2
    assert f"--out is {tmp_path / 'notes.txt'}, which is a file; name a folder." in done.stderr
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_stills_whose_alarm_is_raised_say_so(evaluate, tmp_path):
    """Too short for a rate and without clean driving: the alarm and the stop are told all the same."""
    stills = tmp_path / "noise"
    stills.mkdir()
    for index in range(4):
        noise = np.random.default_rng(index).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(stills / f"{index:03d}.png"), noise)
    done, out = evaluate(stills)
    assert done.returncode == 0, done.stderr
    assert "noise: pictures carry no time, and count as taken at 10 Hz; --rate says another." in done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["alarms"]["raised"], summary["decision"]["clean_s"]) == (1, 0)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("noise: 4 images of ")
    assert lines[1] == "  Would not have moved: STOP for all 0.3 s; 1 alarm."
    assert lines[2].startswith("  STOP 0.00 to 0.30 s: camera ")
    assert "out of distribution" in lines[3]
    words = "1 false alarm (no events given: every alarm counts); there was no clean driving to tell a rate by"
    assert lines[-3] == f"  {words}"
    assert lines[-2].startswith(
        "  100.0 % of the frames are above the threshold: if they are usual driving, this bundle"
    )
    assert words in (out / "report.html").read_text(encoding="utf-8")


def test_a_clip_says_whether_its_alarm_came_again(evaluate, bag, tmp_path):
    """Its own account of the alarm is held against the evaluation's: the same score, and another one."""
    clip = shutil.copytree(bag, tmp_path / "clip")
    done, out = evaluate(clip)
    raised = next(row for row in csv.DictReader((out / "frames.csv").open()) if row["alarm"] == "RAISED")
    assert json.loads((out / "summary.json").read_text())["clip"] is None
    account = {"camera": "front", "stamp_ns": int(raised["stamp_ns"]), "score": float(raised["score"]), "fault": ""}
    for shift, words in ((0.0, "by the same score"), (0.5, f"but by score {raised['score']}, not score")):
        alarm = {**account, "score": account["score"] + shift}
        bundle = json.loads((out / "summary.json").read_text())["bundle"]["sha256"]
        (clip / "clip.json").write_text(json.dumps({"raised": [alarm], "bundle_sha256": bundle}))
        done, out = evaluate(clip)
        assert done.returncode == 0, done.stderr
        line = f"the clip's alarm of camera front at stamp {raised['stamp_ns']} was raised again at the same stamp"
        assert line in done.stdout
        assert words in done.stdout
        assert "another bundle" not in done.stdout


def test_pictures_and_videos_are_judged_as_they_are(evaluate, make_pictures, tmp_path):
    """At their rate; a picture that cannot be read is a fault, and the others are judged; events count as in a bag."""
    pictures = tmp_path / "stills"
    pictures.mkdir()
    for index, picture in enumerate(make_pictures(20, seed=9)):
        cv2.imwrite(str(pictures / f"{index:03d}.png"), picture)
    (pictures / "007.png").write_bytes(b"scrap")
    video = cv2.VideoWriter(str(tmp_path / "drive.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (128, 96))
    for picture in make_pictures(20, seed=9):
        video.write(cv2.resize(picture, (128, 96)))
    video.release()
    write_events((Event("front", 0.5, 1.5, "noise"),), tmp_path / "drive.avi.events.yaml")
    done, out = evaluate(pictures, tmp_path / "drive.avi", "--rate", "20")
    assert done.returncode == 0, done.stderr
    stills, film = (json.loads((out / name / "summary.json").read_text()) for name in ("stills", "drive.avi"))
    assert (stills["frames"], stills["faults"], stills["truncated"]) == (20, {"unreadable": 1}, "")
    assert stills["duration_s"] == film["duration_s"] == pytest.approx(19 / 20.0)
    assert (film["frames"], film["faults"], len(film["events"])) == (20, {}, 1)
    write_events((Event("front", 30.0, 31.0, "late"),), tmp_path / "drive.avi.events.yaml")
    done, _ = evaluate(tmp_path / "drive.avi")
    assert done.returncode == 2
    assert "within the 1.9 s of the recording" in done.stderr


def test_of_a_video_that_was_cut_off_what_can_be_read_is_judged(evaluate, make_pictures, tmp_path):
    """A note, the summary and the report say so; it ends with its last picture."""
    path = tmp_path / "drive.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (128, 96))
    for picture in make_pictures(40, seed=9):
        video.write(cv2.resize(picture, (128, 96)))
    video.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done, out = evaluate(path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert 10 < summary["frames"] < 30
    damage = summary["truncated"]
    assert f"is cut off: its file has 0.0 of 0.1 MB, and {summary['frames']} of 40 images can be read" in damage
    assert damage.endswith(f"What can be read ends at {(summary['frames'] - 1) / 10:.1f} s.")
    assert f"drive.avi: {damage} The rest is judged." in " ".join(done.stderr.split())
    assert "is cut off" in (out / "report.html").read_text()


def test_recordings_of_one_name_are_told_apart(evaluate, bag, tmp_path):
    """Two folders named bag, each with its own events, go by the folder above; with --resume they are found again."""
    for name in ("d1", "d2"):
        shutil.copytree(bag, tmp_path / name / "bag")
    write_events((Event("front", 3.0, 4.5, "noise of the second"),), tmp_path / "d2" / "events.yaml")
    recordings = [tmp_path / name / "bag" for name in ("d1", "d2")]
    done, out = evaluate(*recordings)
    assert done.returncode == 0, done.stderr
    assert {entry.name for entry in out.iterdir()} == {"d1_bag", "d2_bag", "summary.json", "report.html"}
    assert json.loads((out / "d1_bag" / "summary.json").read_text())["events"] == []
    second = json.loads((out / "d2_bag" / "summary.json").read_text())
    assert (second["recording"], second["events"][0]["label"]) == ("d2_bag", "noise of the second")
    former = json.loads((out / "summary.json").read_text())
    again, _ = evaluate(*recordings, "--resume")
    assert again.stderr.count("not done again") == 2
    assert json.loads((out / "summary.json").read_text()) == former


def test_results_do_not_go_into_the_recording(evaluate, tmp_path, make_pictures):
    """They would be pictures of the next evaluation."""
    cv2.imwrite(str(tmp_path / "0.png"), make_pictures(1)[0])
    done, _ = evaluate(tmp_path)
    assert done.returncode == 2
    assert "within the recording" in done.stderr


def test_a_folder_that_is_no_recording_names_what_to_give(evaluate, bag, tmp_path):
    """A folder around bags names them; results of an earlier evaluation are no pictures, not even where --out writes again."""
    shutil.copytree(bag, tmp_path / "d1" / "bag")
    cv2.imwrite(str(tmp_path / "d1" / "note.png"), np.zeros((8, 8, 3), np.uint8))
    done, out = evaluate(tmp_path / "d1")
    assert done.returncode == 2
    assert f"give {tmp_path / 'd1' / 'bag'}." in done.stderr
    assert not out.exists()
    done, out = evaluate(bag)
    assert "judgement by the events: every event raised its alarm" in done.stdout
    shutil.copytree(out, tmp_path / "week" / "drive")
    for folder in (tmp_path / "week", tmp_path / "week" / "drive"):
        done, _ = evaluate(bag, folder)
        assert done.returncode == 2
        assert f"{folder} holds the results of an evaluation, and is no recording" in done.stderr
    done, _ = evaluate(bag, out)
    assert done.returncode == 2
    assert f"{out} is where --out writes, and holds former results, no recording; leave it out" in done.stderr


def test_what_perception_draws_is_named_as_no_camera(evaluate, tmp_path, make_pictures):
    """The sentence says why its images are none, and how to take one all the same."""
    with FrameBagWriter(tmp_path / "drawn") as writer:
        for index, picture in enumerate(make_pictures(3)):
            writer.write_labels("front", picture[:, :, 0], START + index * 10**8)
    done, _ = evaluate(tmp_path / "drawn")
    assert done.returncode == 2
    assert "has no camera topic: by their names, its images on /front/labels are class ids" in done.stderr
    assert "give --topic /front/labels=front" in done.stderr


def test_names_are_no_markup_and_a_failure_decides_nothing(evaluate, bag, tmp_path):
    """A label in brackets is told as it is; with a recording missing nothing is accepted. Events may lie beside bag/."""
    shutil.copytree(bag, tmp_path / "bag")
    (tmp_path / "scrap.mcap").write_bytes(b"scrap")
    write_events((Event("front", 3.0, 4.5, "[/]fog"),), tmp_path / "events.yaml")
    (tmp_path / "limits.yaml").write_text("max_faults: 0\n")
    done, _ = evaluate(tmp_path / "bag", tmp_path / "scrap.mcap", "--acceptance", tmp_path / "limits.yaml")
    assert done.returncode == 2
    assert "[/]fog on front" in done.stdout
    assert "ACCEPTANCE NOT DECIDED" in done.stdout
    assert "Traceback" not in done.stderr


def test_one_broken_recording_does_not_lose_the_others(evaluate, bag, tmp_path):
    """It is named, exit 2; the others are judged, and their results written."""
    (tmp_path / "scrap.mcap").write_bytes(b"scrap")
    for number in (1, 2):
        shutil.copytree(bag, tmp_path / f"copy_{number}")
    recordings = [tmp_path / name for name in ("copy_1", "scrap.mcap", "copy_2")]
    done, out = evaluate(*recordings, "--json", tmp_path / "all.json")
    assert done.returncode == 2
    assert "scrap.mcap" in done.stderr.splitlines()[-1]
    assert "1 of 3 recordings could not be judged" in done.stderr
    results = json.loads((tmp_path / "all.json").read_text())
    assert sorted(results) == ["copy_1", "copy_2", "pool"]
    assert [bool(recording["error"]) for recording in results["pool"]["recordings"]] == [False, True, False]
    assert "2 of 3 recordings together" in done.stdout
    for name in ("copy_1", "copy_2"):
        assert json.loads((out / name / "summary.json").read_text())["frames"] == 60


@pytest.mark.parametrize("option", ["--json", "--resume"])
def test_a_former_verdict_does_not_speak_for_a_recording_that_failed(evaluate, bag, tmp_path, option):
    """With limits its junit.xml holds the error, alone or beside another; without them there is none."""
    options = [option, tmp_path / "all.json"] if option == "--json" else [option]
    shutil.copytree(bag, tmp_path / "copy")
    (tmp_path / "limits.yaml").write_text("min_events_detected: 0\n")
    accepted = ("--acceptance", tmp_path / "limits.yaml")
    done, out = evaluate(bag, tmp_path / "copy", *accepted)
    assert done.returncode == 0, done.stderr  # the copy has no events, and is not asked
    storage = next((tmp_path / "copy").glob("*.db3"))
    storage.write_bytes(b"scrap")
    done, _ = evaluate(bag, tmp_path / "copy", *accepted, *options)
    assert done.returncode == 2
    suites = {name: ElementTree.parse(out / name / "junit.xml").getroot() for name in ("drive", "copy")}
    assert [suites["drive"].get(key) for key in ("tests", "failures", "errors")] == ["1", "0", "0"]
    assert [suites["copy"].get(key) for key in ("tests", "failures", "errors")] == ["1", "0", "1"]
    assert "is damaged" in suites["copy"].find("testcase/error").get("message")
    assert ElementTree.parse(out / "junit.xml").getroot().get("errors") == "1"
    assert json.loads((out / "summary.json").read_text())["acceptance"]["passed"] is None
    done, _ = evaluate(bag, tmp_path / "copy", *options)
    assert done.returncode == 2
    assert not list(out.rglob("junit.xml"))
    done, _ = evaluate(tmp_path / "copy", *accepted)
    assert done.returncode == 2
    assert ElementTree.parse(out / "junit.xml").getroot().get("errors") == "1"


def test_limits_by_label_and_camera(evaluate, bag, tmp_path):
    """Each rule is a test case; a label that no event has is refused before anything is judged."""
    limits = tmp_path / "limits.yaml"
    limits.write_text(
        "labels: {noise: {min_events_detected: 1.0}}\ncameras: {front: {max_false_alarms: 0, max_faults: 0}}\n"
    )
    done, out = evaluate(bag, "--acceptance", limits)
    assert done.returncode == 0, done.stderr + done.stdout
    cases = [case.get("name") for case in ElementTree.parse(out / "junit.xml").getroot()]
    assert cases == [
        "labels.noise.min_events_detected",
        "cameras.front.max_false_alarms",
        "cameras.front.max_faults",
    ]
    limits.write_text("labels: {noisy: {min_events_detected: 1.0}}\n")
    done, _ = evaluate(bag, "--acceptance", limits)
    assert done.returncode == 2
    assert (
        "the acceptance file limits labels.noisy, but no event is labelled so in the recordings, which have noise"
        in done.stderr
    )
    assert not (out / "junit.xml").exists()


@pytest.mark.parametrize(("limit", "code"), [("max_false_alarms_per_hour: 5000", 0), ("max_time_to_release_s: 9", 1)])
def test_a_set_is_held_against_what_it_answers_together(evaluate, bag, tmp_path, limit, code):
    """The rate of a drive that is broken alone is kept by two; what no recording can tell is broken, and named."""
    for name in ("d1", "d2"):
        shutil.copytree(bag, tmp_path / name)
    write_events((Event("front", 3.0, 9.0, "noise"),), tmp_path / "d1.events.yaml")
    limits = tmp_path / "limits.yaml"
    limits.write_text(f"{limit}\nmin_events_detected: 1.0\n")
    done, out = evaluate(tmp_path / "d1", tmp_path / "d2", "--acceptance", limits, "--release-within", "2")
    assert done.returncode == code, done.stdout + done.stderr
    assert ("ACCEPTANCE BROKEN by the rules of all together" in done.stdout) == bool(code)
    root = ElementTree.parse(out / "junit.xml").getroot()
    cases = {suite.get("name"): [case.get("name") for case in suite.iter("testcase")] for suite in root}
    assert cases == {"d1": ["min_events_detected"], "d2": ["evaluation"], "all recordings": [limit.split(":")[0]]}
    assert root.get("failures") == str(code)
    assert ("not measured in any recording" in (out / "report.html").read_text(encoding="utf-8")) == bool(code)
    pooled = json.loads((out / "summary.json").read_text())
    assert pooled["acceptance"]["passed"] == (not code)
    if not code:
        alone, _ = evaluate(tmp_path / "d2", "--acceptance", limits)
        assert "BROKEN min_events_detected" in alone.stdout
        rates = [recording["alarms"]["false_per_hour"]["per_hour"] for recording in pooled["recordings"]]
        assert rates[0] == 0.0
        assert 0.0 < pooled["alarms"]["false_per_hour"]["per_hour"] < rates[1]


def test_limits_that_cannot_be_read_leaves_no_former_verdict(evaluate, bag, tmp_path):
    """Nor does one that is not there; of several recordings none of theirs, and not that of all."""
    limits = tmp_path / "limits.yaml"
    limits.write_text("max_faults: 0\n")
    shutil.copytree(bag, tmp_path / "copy")
    done, out = evaluate(bag, tmp_path / "copy", "--acceptance", limits)
    assert done.returncode == 0, done.stderr
    assert len(list(out.rglob("junit.xml"))) == 3
    limits.write_text("max_fault: 0\n")
    done, _ = evaluate(bag, tmp_path / "copy", "--acceptance", limits)
    assert done.returncode == 2
    assert f"{limits} has no limit max_fault; known: " in done.stderr
    assert not list(out.rglob("junit.xml"))


def test_a_recording_named_pool_is_told_apart(evaluate, bag, tmp_path):
    """In --json it would be taken for all of them."""
    shutil.copytree(bag, tmp_path / "pool")
    done, _ = evaluate(bag, tmp_path / "pool", "--json", tmp_path / "all.json")
    assert done.returncode == 2
    assert "but one is named so; rename it" in done.stderr


def test_a_detector_that_is_refused_leaves_no_former_verdict(evaluate, bag, tmp_path):
    """Whatever ends the command, a build server must not read the last one's answer."""
    (tmp_path / "limits.yaml").write_text("max_faults: 0\n")
    done, out = evaluate(bag, "--acceptance", tmp_path / "limits.yaml")
    assert (out / "junit.xml").is_file()
    done, _ = evaluate(bag, "--acceptance", tmp_path / "limits.yaml", "--detector", "oracle")
    assert done.returncode == 2
    assert not (out / "junit.xml").exists()


def test_what_is_finished_is_not_done_again(evaluate, bag):
    """With --resume a second command says so, and tells the same verdict."""
    first, out = evaluate(bag)
    page = (out / "report.html").stat().st_mtime_ns
    done, _ = evaluate(bag, "--resume")
    assert "not done again" in done.stderr
    assert done.stdout == first.stdout
    assert (out / "report.html").stat().st_mtime_ns == page


def test_the_folder_in_which_one_stands_is_a_recording(evaluate, bag, monkeypatch):
    """A dot has a name, too."""
    monkeypatch.chdir(bag)
    done, out = evaluate(".")
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "summary.json").read_text())["recording"] == "drive"


def test_without_dask_a_cluster_is_a_sentence(evaluate, bag, monkeypatch):
    """Dask is not installed: which extra to install, exit 2."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    done, out = evaluate(bag, "--scheduler", "tcp://127.0.0.1:9")
    assert done.returncode == 2
    assert not out.exists()  # it is tried before anything is written
    assert "pip install 'ls_ood_monitor[cluster]'" in done.stderr


@pytest.mark.parametrize("damage", ["cut off", "a hole"])
def test_of_a_damaged_bag_what_can_be_read_is_judged(evaluate, tmp_path, damage):
    """Without its end, or with a hole: the rest is judged, and notes and summary name what is lost."""
    whole = tmp_path / "whole"
    with FrameBagWriter(whole, storage="mcap") as writer:
        for index in range(200):
            random = np.random.default_rng(index)
            writer.write("front", random.integers(0, 256, (96, 128, 3), dtype=np.uint8), START + index * 10**8)
    path = next(whole.glob("*.mcap"))
    data = bytearray(path.read_bytes())
    middle = len(data) * 6 // 10
    path.write_bytes(
        data[:middle] if damage == "cut off" else data[:middle] + bytes(200_000) + data[middle + 200_000 :]
    )
    done, out = evaluate(whole)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0
    assert "is judged." in done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert 50 < summary["frames"] < 200
    assert "damaged" in summary["truncated"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "there is no nowhere"),
        (("BAG", "--topic", "/roof=roof"), "has no topic /roof; its image topics are /front/image"),
        (("BAG", "--topic", "roof"), "give TOPIC=CAMERA"),
        (("BAG", "--events", "nowhere.yaml"), "there is no events file nowhere.yaml, which --events names"),
        (("BAG", "--acceptance", "nowhere.yaml"), "there is no acceptance file nowhere.yaml, which --acceptance names"),
        (("BAG", "BAG"), "is given twice; give it once"),
        (("BAG", "--stop-within", "-1"), "--stop-within is -1.0"),
        (("BAG", "--detector", "oracle"), "detector is 'oracle'"),
        (("BAG", "--jobs", "some"), "--jobs is some"),
        (("BAG", "--rate", "nan"), "--rate is nan"),
        (("BAG", "--rate", "30"), "is a bag, which has times of its own; leave it out"),
        ((".", "--topic", "/front/image=front"), "--topic is for bags, but . is none"),
        (("scrap.mcap", "--detector", "oracle"), "detector is 'oracle'"),
        (("BAG", "--jobs", "-2"), "--jobs is -2"),
        (("BAG", "--jobs", "auto", "--scheduler", "tcp://127.0.0.1:9"), "exclude each other"),
        (("BAG", "--scheduler", "tcp://10.0.0.7"), "--scheduler is tcp://10.0.0.7; give HOST:PORT"),
    ],
)
def test_bad_input_is_a_sentence(evaluate, bag, arguments, words):
    """Exit 2, one line, nothing half done."""
    done, _ = evaluate(*(bag if argument == "BAG" else argument for argument in arguments))
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_clock_step_is_noted_and_its_hours_do_not_count(evaluate, make_pictures, tmp_path):
    """A clock set from 1970 in the middle of 6 s of driving gives 6 s of driving, and a note."""
    with FrameBagWriter(tmp_path / "drive", storage="mcap") as writer:
        for index, picture in enumerate(make_pictures(60, seed=6)):
            begin_ns = 60 * 10**9 if index < 30 else START
            writer.write("front", picture, begin_ns + index * 10**8)
    done, out = evaluate(tmp_path / "drive")
    assert done.returncode == 0, done.stderr
    assert "the recorder's clock steps by" in done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["duration_s"] == pytest.approx(5.9)
    assert summary["alarms"]["false_per_hour"]["hours"] < 6 / 3600


def test_folders_whose_names_are_not_utf8(evaluate, bag, tmp_path):
    """Bytes that are not text in the path of a recording do no harm; its name shows a replacement for each."""
    folder = tmp_path / os.fsdecode(b"t\xfcv") / os.fsdecode(b"dr\xefve")
    shutil.copytree(bag, folder)
    done, out = evaluate(folder)
    assert done.returncode == 0, done.stderr
    assert {"report.html", "summary.json", "timeline.png"} <= {file.name for file in out.iterdir()}
    assert json.loads((out / "summary.json").read_text())["recording"] == "dr\ufffdve"


def test_a_full_disk_is_refused_before_the_work(evaluate, bag, monkeypatch):
    """The sentence names the option, and nothing is written."""
    full = shutil.disk_usage("/")._replace(free=10_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    done, out = evaluate(bag)
    assert done.returncode == 2
    assert "--out is" in done.stderr
    assert "make room" in done.stderr
    assert not out.exists()
