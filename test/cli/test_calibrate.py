"""ls-ood calibrate as a user calls it: from clean data to a bundle, added drives, and clear errors."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags import rosbag1
from rosbags.typesys import Stores, get_typestore

from ls_ood_monitor.bundle import CALIBRATION, load_bundle, save_bundle, verify_bundle
from ls_ood_monitor.cli.main import main
from ls_ood_monitor.config import AlarmSettings
from ls_ood_monitor.frame_pass import LatentSettings
from ls_ood_monitor.networks.deeplab_pass import DeepLabPass
from ls_ood_monitor.recordings.bags import FrameBagWriter, iter_frames


def calibrate(*arguments: str | Path) -> int:
    """Exit code of the command, in this process: a new one would load torch again. Clips are disturbed only if asked for."""
    if "--sensitivity-minutes" not in arguments:
        arguments = (*arguments, "--sensitivity-minutes", "0")
    with pytest.raises(SystemExit) as end:
        main(["calibrate", *map(str, arguments), "--device", "cpu"])
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory, make_pictures) -> Path:
    """A bag and two folders of pictures, each with noise of its own."""
    root = tmp_path_factory.mktemp("data")
    with FrameBagWriter(root / "monday") as writer:
        for index, picture in enumerate(make_pictures(48, seed=1)):
            writer.write("front", picture, 10**18 + index * 250_000_000)
    for seed, name in enumerate(("tuesday", "friday"), start=2):
        (root / name).mkdir()
        for index, picture in enumerate(make_pictures(40, seed=seed)):
            cv2.imwrite(str(root / name / f"{index:03d}.png"), picture)
    return root


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory, data, tiny_bundle) -> Path:
    """A bundle from a bag and a folder, checked on another folder."""
    out = tmp_path_factory.mktemp("calibrated")
    code = calibrate(
        *(data / "monday", data / "tuesday", "--check", data / "friday", "--bundle", tiny_bundle, "--out", out / "b"),
        *("--block", "4", "--target-rate", "0.05", "--rate", "4", "--json", out / "result.json", "--table", "all"),
    )
    assert code == 0
    return out


def test_from_a_bag_and_a_folder_to_a_bundle(calibrated, tiny_bundle):
    """The bundle loads with the printed thresholds, and its provenance states their data; the plot is there."""
    result = json.loads((calibrated / "result.json").read_text())
    monitor = load_bundle(calibrated / "b", device="cpu")
    assert monitor.bundle_id == result["bundle"]["sha256"] == verify_bundle(calibrated / "b").bundle_id
    assert {name: item.value for name, item in monitor.thresholds.items()} == {
        name: item["value"] for name, item in result["thresholds"].items()
    }
    facts = verify_bundle(calibrated / "b").content["provenance"]["calibration"]
    assert [name.split("/")[-1] for name in facts["drives"]] == ["monday", "tuesday"]
    assert (facts["frames"], facts["blocks"], facts["block_s"], facts["hold_out"]) == (88, 6, 4.0, "block")
    assert facts["from_bundle"] == verify_bundle(tiny_bundle).bundle_id
    assert set(facts["detectors"]["multistage"]["held_out"]) == {"block", "drive"}
    assert result["check_on_unseen_drives"]["multistage"]["frames"] == 40
    assert cv2.imread(str(calibrated / "b" / "calibration.png")) is not None


def test_a_bag_of_ros_1_gives_the_same_thresholds(data, tiny_bundle, tmp_path):
    """The same raw pictures in a bag of ROS 2 and of ROS 1 give equal thresholds."""
    store = get_typestore(Stores.ROS1_NOETIC)
    with rosbag1.Writer(tmp_path / "old.bag") as writer:
        connection = writer.add_connection("/front/image", "sensor_msgs/msg/Image", typestore=store)
        for number, frame in enumerate(iter_frames(data / "monday")):
            stamp = store.types["builtin_interfaces/msg/Time"](*divmod(frame.stamp_ns, 10**9))
            header = store.types["std_msgs/msg/Header"](seq=number, stamp=stamp, frame_id="front")
            height, width = frame.image.shape[:2]
            message = store.types["sensor_msgs/msg/Image"](
                header, height, width, "bgr8", 0, 3 * width, frame.image.reshape(-1)
            )
            writer.write(connection, frame.stamp_ns, store.serialize_ros1(message, "sensor_msgs/msg/Image"))
    for recording, name in ((data / "monday", "new"), (tmp_path / "old.bag", "old")):
        options = ("--bundle", tiny_bundle, "--out", tmp_path / name, "--block", "4", "--target-rate", "0.05")
        detectors = ("--detectors", "mahalanobis,larem", "--detector", "larem")
        assert calibrate(recording, *options, *detectors) == 0
    new, old = (load_bundle(tmp_path / name, device="cpu") for name in ("new", "old"))
    assert {name: item.value for name, item in new.thresholds.items()} == {
        name: item.value for name, item in old.thresholds.items()
    }


def test_adding_a_drive_equals_calibrating_on_all(calibrated, data, tiny_bundle, tmp_path):
    """--update with the new drive equals a calibration on all three drives with the old settings."""
    assert calibrate(data / "friday", "--update", calibrated / "b", "--rate", "4", "--out", tmp_path / "more") == 0
    assert (
        calibrate(
            *(data / "monday", data / "tuesday", data / "friday", "--bundle", tiny_bundle, "--out", tmp_path / "all"),
            *("--block", "4", "--target-rate", "0.05", "--rate", "4"),
        )
        == 0
    )
    more, everything = (load_bundle(tmp_path / name, device="cpu") for name in ("more", "all"))
    assert more.thresholds == everything.thresholds
    for name in more.detectors:
        for key, values in more.detectors[name].state().items():
            np.testing.assert_array_equal(values, everything.detectors[name].state()[key])
    facts = verify_bundle(tmp_path / "more").content["provenance"]
    assert len(facts["calibration"]["drives"]) == 3
    assert "check_on_unseen_drives" not in facts


def test_the_table_is_verified_and_not_for_the_vehicle(calibrated, data, tmp_path, capsys):
    """A damaged table fails verify but not loading; without a table, --update is refused."""
    import shutil

    copy = Path(shutil.copytree(calibrated / "b", tmp_path / "copy"))
    content = bytearray((copy / CALIBRATION).read_bytes())
    content[-1] ^= 1
    (copy / CALIBRATION).write_bytes(bytes(content))
    with pytest.raises(SystemExit) as end:
        main(["bundle", "verify", str(copy)])
    assert end.value.code == 2
    assert f"{CALIBRATION} does not match" in capsys.readouterr().err
    load_bundle(copy, device="cpu")
    options = ("--block", "4", "--target-rate", "0.1", "--no-table", "--bundle", calibrated / "b", "--out")
    assert calibrate(data / "monday", *options, copy) == 0
    assert not (copy / CALIBRATION).exists()
    assert calibrate(data / "friday", "--update", copy, "--out", tmp_path / "x") == 2
    assert "without --table none" in capsys.readouterr().err


def test_bundle_show_prints_the_calibration(calibrated, capsys):
    """``ls-ood bundle show`` prints the drives, the target, what was held out, and the detector that raises the alarm."""
    for folder, raises in (([str(calibrated / "b")], "multistage *"), ([], "spatial *")):
        with pytest.raises(SystemExit) as end:
            main(["bundle", "show", *folder])
        assert end.value.code in (0, None)
        text = " ".join(capsys.readouterr().out.split())
        assert raises in text
        assert "clean frames" in text
        if folder:
            assert "monday (48)" in text
            assert "Target: 0.05 of clean frames; blocks of time held out" in text


def test_other_detectors_and_a_target_an_hour(data, tiny_bundle, tmp_path):
    """--detectors chooses what is fitted, --detector what raises; with too few hours the bundle has a warning."""
    code = calibrate(
        *(data / "monday", "--bundle", tiny_bundle, "--out", tmp_path / "b", "--block", "2", "--allow-small"),
        *("--target-per-hour", "2", "--detectors", "mahalanobis,larem", "--detector", "larem", "--trigger", "2"),
        *("--plot", tmp_path / "picture.png"),
    )
    assert code == 0
    monitor = load_bundle(tmp_path / "b", device="cpu")
    assert (monitor.detector, set(monitor.detectors)) == ("larem", {"larem", "mahalanobis"})
    assert "rule of three" in monitor.thresholds["larem"].warning
    assert (tmp_path / "picture.png").exists()


def test_what_the_monitor_sees_is_measured_and_shown(data, tiny_bundle, tmp_path, capsys):
    """A clip of the clean drive is disturbed: table, bundle and picture tell which changes alarm; 'bundle show' repeats it."""
    code = calibrate(
        *(data / "monday", "--bundle", tiny_bundle, "--out", tmp_path / "b", "--block", "2", "--allow-small"),
        *("--target-per-hour", "2", "--sensitivity-minutes", "0.001"),
    )
    assert code == 0
    shown = capsys.readouterr().out
    assert "which should not alarm" in shown
    assert "anomalies of severity 3: alarm in" in shown
    facts = verify_bundle(tmp_path / "b").content["provenance"]["calibration"]["sensitivity"]
    assert (facts["clips"], facts["is_complete"]) == (1, False)
    with pytest.raises(SystemExit):
        main(["bundle", "show", str(tmp_path / "b")])
    assert "anomalies of severity 3: alarm in" in capsys.readouterr().out


def test_video_gets_a_target_an_hour_where_it_is_long_enough(tiny_bundle, tmp_path, make_pictures):
    """Ten minutes of video: 20 false alarms an hour, said in the bundle; 12 s of it: 1 % of frames, and what that means."""
    for name, gap_s in (("long", 1.0), ("short", 0.02)):
        with FrameBagWriter(tmp_path / name) as writer:
            for index, picture in enumerate(make_pictures(600, seed=5)):
                writer.write("front", picture, 10**18 + round(index * gap_s * 1e9))
        code = calibrate(
            *(tmp_path / name, "--bundle", tiny_bundle, "--out", tmp_path / f"{name}_bundle"),
            *("--detectors", "mahalanobis", "--detector", "mahalanobis", "--block", str(60 * gap_s)),
        )
        assert code == 0
    calibrations = {
        name: verify_bundle(tmp_path / f"{name}_bundle").content["provenance"]["calibration"]
        for name in ("long", "short")
    }
    assert calibrations["long"]["target"] == {"per_hour": 20.0}
    assert calibrations["short"]["target"] == {"rate": 0.01}
    notes = calibrations["short"]["detectors"]["mahalanobis"]["notes"]
    assert any("false alarms an hour on these drives" in note for note in notes)


def test_drives_of_unlike_rates_share_one_target(tiny_bundle, tmp_path, make_pictures):
    """A drive at 1 Hz and one at 5 Hz: their hours add up, and the thresholds keep the target on both together."""
    for name, count, rate in (("slow", 60, 1.0), ("fast", 300, 5.0)):
        pictures = make_pictures(count, seed=int(rate))
        with FrameBagWriter(tmp_path / name) as writer:
            for index, picture in enumerate(pictures):
                writer.write("front", picture, 10**18 + round(index / rate * 1e9))
    code = calibrate(
        *(tmp_path / "slow", tmp_path / "fast", "--bundle", tiny_bundle, "--out", tmp_path / "b"),
        *("--detectors", "mahalanobis", "--detector", "mahalanobis", "--target-per-hour", "100"),
    )
    assert code == 0
    facts = verify_bundle(tmp_path / "b").content["provenance"]["calibration"]
    alarms = facts["detectors"]["mahalanobis"]["alarms"]["drive"]
    assert facts["hold_out"] == "drive"
    assert alarms["hours"] == pytest.approx(120 / 3600, rel=0.02)
    assert alarms["upper"] <= 100.0


def test_the_settings_of_the_alarm_go_into_the_bundle(data, tiny_bundle, tmp_path):
    """Both thresholds are set for the chosen counts and window, and the bundle stores them."""
    code = calibrate(
        *(data / "monday", "--bundle", tiny_bundle, "--out", tmp_path / "b", "--block", "2", "--allow-small"),
        *("--target-per-hour", "2", "--detectors", "mahalanobis", "--detector", "mahalanobis"),
        *("--lasting-window", "0.5", "--release", "4"),
    )
    assert code == 0
    monitor = load_bundle(tmp_path / "b", device="cpu")
    assert monitor.alarm == AlarmSettings(lasting_window_s=0.5, release_consecutive_frames=4)
    assert "the median over 0.5 s" in monitor.thresholds["mahalanobis"].method
    levels = monitor.lasting_levels
    assert levels.clean_median < levels.threshold


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["monday"], "48 clean frames cannot support a target of 0.01"),
        (["monday", "--block", "20", "--target-rate", "0.1"], "at least 2 are needed"),
        (["monday", "--start", "11.9", "--end", "11.95"], "no frames to calibrate on in"),
        (["monday", "--block", "2", "--target-per-hour", "1"], "rule of three"),
        (["tuesday", "--block", "1", "--target-per-hour", "1"], "needs video"),
        (["monday", "--target-rate", "1.5"], "within (0, 1)"),
        (["monday", "--check", "monday"], "check on drives that are not"),
        (["monday", "monday"], "two drives are named"),
        (["monday", "--hold-out", "drive", "--target-rate", "0.1"], "one drive"),
        (["monday", "--leave-out", "sunday=1:2"], "--leave-out names drive 'sunday'; the drives are"),
        (["monday", "--leave-out", "monday=2:1"], "is not DRIVE=BEGIN:END with 0 <= BEGIN < END"),
        (["monday", "--block", "-1"], "the block length is -1"),
        (["monday", "--detectors", "multistage, kde_two_class"], "kde_two_class learns from OoD frames"),
        (["monday", "--block", "nan"], "the block length is nan"),
        (["monday", "--target-per-hour", "-1"], "the target is -1"),
        (["monday", "--plot", "nowhere/x.png"], "--plot is nowhere/x.png"),
        (["monday", "--plot", "x.doc"], "must end in .png"),
    ],
)
def test_what_the_data_cannot_support_is_refused(data, tiny_bundle, tmp_path, monkeypatch, capsys, arguments, message):
    """The command exits with 2 and one line, and writes no bundle."""
    monkeypatch.chdir(data)
    assert calibrate(*arguments, "--bundle", tiny_bundle, "--out", tmp_path / "b") == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "b").exists()


def test_the_street_as_data(tiny_bundle, tmp_path, make_pictures):
    """Drives of the procedural street, whole drives held out, checked on a folder of pictures."""
    check = tmp_path / "check"
    check.mkdir()
    cv2.imwrite(str(check / "0.png"), make_pictures(1)[0])
    options = ("--bundle", tiny_bundle, "--out", tmp_path / "b", "--target-rate", "0.1", "--no-table")
    assert calibrate("--dataset", "street", "--drives", "3", *options, "--check", check) == 0
    facts = verify_bundle(tmp_path / "b").content["provenance"]["calibration"]
    assert facts["drives"] == {"street-3000": 8, "street-3001": 8, "street-3002": 8}
    assert facts["detectors"]["multistage"]["alarms"] == {}


def test_a_bundle_of_fresh_masks_is_calibrated_in_its_mode(data, tiny_bundle, tmp_path):
    """A bundle that draws fresh masks is calibrated with fresh masks, and keeps them."""
    fixed = load_bundle(tiny_bundle, device="cpu")
    own = fixed.frame_pass
    fresh = DeepLabPass(own.network, own.preprocess_spec, own.mask_bank, "cpu", own.features, masks="fresh")
    latents = LatentSettings(mc_samples=16, masks="fresh")
    parts = (fixed.detectors, fixed.thresholds, "multistage", fixed.class_names)
    save_bundle(tmp_path / "fresh", fresh, latents, *parts, {})
    out = tmp_path / "out"
    options = ("--block", "4", "--target-rate", "0.05", "--rate", "4")
    assert calibrate(data / "monday", "--bundle", tmp_path / "fresh", "--out", out, *options) == 0
    assert load_bundle(out, device="cpu").frame_pass.masks == "fresh"


def test_faulty_images_are_left_out_and_counted(data, tiny_bundle, tmp_path, capsys):
    """A cut JPEG does not end a calibration: it is counted in notes, JSON and provenance; too many end it in one sentence."""
    folder = tmp_path / "drive"
    folder.mkdir()
    for place in sorted((data / "tuesday").iterdir()):
        cv2.imwrite(str(folder / f"{place.stem}.jpg"), cv2.imread(str(place)))
    cut = folder / "007.jpg"
    cut.write_bytes(cut.read_bytes()[:300])
    options = (
        "--bundle",
        tiny_bundle,
        "--rate",
        "4",
        "--block",
        "2",
        "--target-rate",
        "0.1",
        "--detectors",
        "multistage",
    )
    assert calibrate(folder, *options, "--out", tmp_path / "b", "--json", tmp_path / "result.json") == 0
    (name,) = json.loads((tmp_path / "result.json").read_text())["calibration"]["drives"]
    left_out = {name: {"front": {"unreadable": 1}}}
    assert json.loads((tmp_path / "result.json").read_text())["left_out"] == left_out
    assert verify_bundle(tmp_path / "b").content["provenance"]["calibration"]["left_out"] == left_out
    assert "1 of 40 images are left out (front: 1 unreadable)" in capsys.readouterr().err
    assert calibrate(folder, *options, "--out", tmp_path / "c", "--max-faulty", "0.01") == 2
    assert "most of camera front: 1 unreadable of 40." in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "c").exists()


def test_an_interruption_leaves_no_bundle_and_resume_goes_on(data, tiny_bundle, tmp_path, monkeypatch, capsys):
    """Ctrl-C in the second drive: one line, nothing in --out; --resume reads the second drive alone."""
    import ls_ood_monitor.calibration.drive_passes as drive_passes

    options = (
        "--bundle",
        tiny_bundle,
        "--rate",
        "4",
        "--block",
        "4",
        "--target-rate",
        "0.05",
        "--detectors",
        "multistage",
    )
    command = (data / "tuesday", data / "friday", *options, "--out", tmp_path / "b")
    read, began = drive_passes.ReadTask.run, []

    def interrupted(task, on_progress, threads=1):
        began.append(task.name.split("/")[-1])
        if len(began) == 2:
            raise KeyboardInterrupt
        return read(task, on_progress, threads)

    monkeypatch.setattr(drive_passes.ReadTask, "run", interrupted)
    assert calibrate(*command) == 130
    said = capsys.readouterr().err
    assert "with --resume goes on" in " ".join(said.split())
    assert "Traceback" not in said
    assert not (tmp_path / "b").exists()
    assert calibrate(*command, "--resume") == 0
    assert began == ["tuesday", "friday", "friday"]
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_parts_that_are_not_clean_are_left_out(data, tiny_bundle, tmp_path):
    """--leave-out leaves out 2 s of 12 s at 4 Hz, and the bundle says so."""
    options = ("--bundle", tiny_bundle, "--out", tmp_path / "b", "--block", "2", "--target-rate", "0.1")
    part = f"{data.name}/monday=3:5"
    assert calibrate(data / "monday", *options, "--leave-out", part, "--detectors", "multistage") == 0
    facts = verify_bundle(tmp_path / "b").content["provenance"]["calibration"]
    assert (facts["frames"], facts["cut_out"]) == (40, [part])


def test_processes_and_an_address_are_checked(data, tiny_bundle, tmp_path, capsys):
    """As for evaluate."""
    options = ("--bundle", tiny_bundle, "--out", tmp_path / "b")
    assert calibrate(data / "monday", *options, "--jobs", "many") == 2
    assert "--jobs is many" in capsys.readouterr().err
    assert calibrate(data / "monday", *options, "--jobs", "2", "--scheduler", "tcp://127.0.0.1:9") == 2
    assert "exclude each other" in capsys.readouterr().err


def test_a_full_disk_is_refused_before_the_work(data, tiny_bundle, tmp_path, monkeypatch, capsys):
    """The sentence names the option, and neither a bundle nor a folder of finished drives is left."""
    full = shutil.disk_usage("/")._replace(free=10_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    assert calibrate(data / "monday", "--bundle", tiny_bundle, "--out", tmp_path / "b") == 2
    assert "make room" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_one_cut_jpeg_and_a_clock_step_cost_a_picture_and_a_note(make_pictures, tiny_bundle, tmp_path, capfd):
    """The cut picture is counted and left out, the step is noted, and the hours of the step are no driving."""
    with FrameBagWriter(tmp_path / "drive") as writer:
        for index, picture in enumerate(make_pictures(60, seed=8)):
            step_ns = 0 if index < 30 else 3600 * 10**9
            writer.write("front", picture, 10**18 + index * 250_000_000 + step_ns, compressed=True)
    database = sqlite3.connect(tmp_path / "drive" / "drive.db3")
    (message,) = database.execute("SELECT data FROM messages WHERE id = 7").fetchone()
    database.execute("UPDATE messages SET data = ? WHERE id = 7", (message[:-200] + bytes(200),))
    database.commit()
    database.close()
    arguments = (tmp_path / "drive", "--bundle", tiny_bundle, "--out", tmp_path / "b", "--json", tmp_path / "r.json")
    assert calibrate(*arguments, "--block", "4", "--target-rate", "0.05", "--allow-small") == 0
    printed = capfd.readouterr().err
    assert "clock steps by 3600.2 s forward" in printed
    assert "1 of 60 images are left out (front: 1 unreadable)" in printed
    calibration = json.loads((tmp_path / "r.json").read_text())["calibration"]
    assert calibration["hours"] == pytest.approx(59 * 0.25 / 3600)
