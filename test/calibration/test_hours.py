"""Calibration on hours of driving: a sample for the fits, a second pass for the scores, and clean data that are clean."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager, suppress
from functools import partial

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from ls_ood_monitor.bundle import load_bundle, save_bundle
from ls_ood_monitor.calibration.calibrate import calibrate
from ls_ood_monitor.calibration.calibrated_bundle import write_calibrated_bundle
from ls_ood_monitor.calibration.collect import collect_drives
from ls_ood_monitor.calibration.drive_runner import DriveRunner
from ls_ood_monitor.calibration.feature_table import FeatureTable, blocks_of_time, clean_video
from ls_ood_monitor.calibration.network import BundleNetwork
from ls_ood_monitor.calibration.sampling import SamplePlan, StrideSampler
from ls_ood_monitor.calibration.settings import CalibrationSettings
from ls_ood_monitor.calibration.table_file import BYTES_A_FRAME, MIN_FEATURES, pack_table, thin_table, unpack_table
from ls_ood_monitor.calibration.work_folder import WorkFolder
from ls_ood_monitor.core.detectors import detector_spec, required_features
from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.errors import CalibrationError, DataError
from ls_ood_monitor.features import FrameFeatures
from ls_ood_monitor.frame_pass import LatentSettings
from ls_ood_monitor.networks.deeplab_pass import DeepLabPass
from ls_ood_monitor.recordings.bags import FrameBagWriter
from ls_ood_monitor.recordings.drive_source import DriveSource, open_drives
from ls_ood_monitor.vision.mc_dropout import draw_mask_bank
from ls_ood_monitor.vision.preprocess import PreprocessSpec

DETECTORS = ("multistage", "knn")
START_NS = 10**18


def noise(count: int, seed: int) -> list[np.ndarray]:
    """Small random pictures."""
    return list(np.random.default_rng(seed).integers(0, 256, (count, 24, 32, 3), dtype=np.uint8))


def frames_of(count: int, seed: int, cameras: tuple[str, ...] = ("front", "rear")) -> list[Frame]:
    """Random pictures at 10 Hz, of two cameras in turn."""
    return [
        Frame(picture, START_NS + (index // len(cameras)) * 100_000_000, cameras[index % len(cameras)])
        for index, picture in enumerate(noise(count, seed))
    ]


def source(name: str, frames: list[Frame]) -> DriveSource:
    return DriveSource(name, partial(iter, frames), len(frames))


@contextmanager
def silent(title: str, total: int | None):
    """No progress display."""
    yield lambda done, note="": None


@pytest.fixture(scope="module")
def network(tmp_path_factory, tiny_bundle):
    """The embedded network at an even smaller size, for this process and others."""
    tiny = load_bundle(tiny_bundle, device="cpu")
    bank = draw_mask_bank(16, 3, 4, block_size=1, drop_prob=0.3, seed=0)
    smaller = DeepLabPass(
        tiny.frame_pass.network, PreprocessSpec(width=64, height=48), bank, "cpu", tiny.frame_pass.features
    )
    folder = tmp_path_factory.mktemp("network")
    parts = (tiny.detectors, tiny.thresholds, tiny.detector, tiny.class_names)
    identity = save_bundle(folder, smaller, LatentSettings(mc_samples=16), *parts, {})
    return BundleNetwork(folder, identity, "cpu", "eager", "fp32", required_features(DETECTORS))


@pytest.fixture(scope="module")
def drives() -> list[DriveSource]:
    """Two drives of two cameras: 4 s and 6 s."""
    return [source("monday", frames_of(80, 1)), source("tuesday", frames_of(120, 2))]


def write(out, network, drives, **options):
    """Calibrate on drives and write a bundle."""
    settings = CalibrationSettings(0.05, block_s=1.0, **options.pop("settings", {}))
    return write_calibrated_bundle(
        out,
        network.open(),
        LatentSettings(mc_samples=16),
        network.opened().class_names,
        drives,
        settings,
        detector="multistage",
        names=DETECTORS,
        provenance={},
        network=network,
        **{"progress": silent, **options},
    )


@pytest.fixture(scope="module")
def sampled(tmp_path_factory, network, drives):
    """A calibration whose fits see 50 of 200 frames."""
    return write(tmp_path_factory.mktemp("sampled") / "b", network, drives, max_sample=50, table_kind="all")


def test_few_frames_give_what_all_features_give(tmp_path, network, drives):
    """Up to the size of the sample every frame is in it: scores and thresholds equal those of a table of all features."""
    result = write(tmp_path / "b", network, drives)
    table = collect_drives(drives, network.open())
    whole = calibrate(table, CalibrationSettings(0.05, block_s=1.0), names=DETECTORS, head=network.open().head)
    for name in DETECTORS:
        assert result.fitted[name].threshold == whole[name].threshold
        for unit in ("block", "drive"):
            np.testing.assert_array_equal(result.fitted[name].scores[unit], whole[name].scores[unit])
        for key, values in whole[name].detector.state().items():
            np.testing.assert_array_equal(result.fitted[name].detector.state()[key], values)


def test_the_sample_is_spread_over_drives_and_cameras(sampled):
    """One frame of each stride, from both cameras of both drives, in proportion to their length."""
    table = sampled.table
    assert len(table.sampled) == 50
    assert (np.diff(table.sampled) < 8).all()
    pairs = Counter(zip(table.drives[table.sampled], table.cameras[table.sampled], strict=True))
    assert {drive for drive, _ in pairs} == {"monday", "tuesday"}
    assert pairs["monday", "front"] + pairs["monday", "rear"] == 20
    assert min(pairs.values()) > 4


def test_every_frame_is_scored_without_its_block_and_its_drive(sampled, network, drives):
    """Scores of the second pass equal those of detectors fitted by hand to the sample without the block or the drive."""
    table, everything = sampled.table, collect_drives(drives, network.open())
    in_sample = table.is_sampled
    blocks = blocks_of_time(table, 1.0)
    for name in DETECTORS:
        rows = everything.features.of(detector_spec(name).feature)
        scores = sampled.fitted[name].scores
        assert all(np.isfinite(values).all() for values in scores.values())
        for unit, ids in (
            ("block", blocks),
            ("drive", np.unique(np.asarray(table.drives, str), return_inverse=True)[1]),
        ):
            for number in (0, int(ids.max())):
                detector = detector_spec(name).make(None).fit(rows[in_sample & (ids != number)])
                np.testing.assert_allclose(scores[unit][ids == number], detector.score(rows[ids == number]), rtol=1e-3)
        assert sampled.fitted[name].threshold.n == 200


def test_a_calibration_on_a_sample_is_close_to_the_whole(sampled, network, drives):
    """The network sees each frame once, and streams and hours are those of all frames."""
    video = clean_video(sampled.table)
    assert [len(stream) for stream in video.streams] == [40, 40, 60, 60]
    assert video.hours == pytest.approx(10.0 / 3600.0)
    facts = sampled.provenance["calibration"]
    assert (facts["frames"], facts["fitted_to_frames"], facts["images"]) == (200, 50, 200)


@pytest.mark.parametrize(("stride", "starts"), [(1, (0, 7)), (7, (0, 33)), (50, (0, 20, 60))])
def test_strides_reach_over_drives(stride, starts):
    """Each stride gives at most one frame, also where it ends in another drive, whatever order drives are read in."""
    ends = (*starts[1:], 200)
    chosen = [
        start + number
        for start, end in zip(starts, ends, strict=True)
        for sampler in [StrideSampler(stride, start)]
        for number in range(end - start)
        if sampler.takes(number)
    ]
    assert [index // stride for index in chosen] == list(range(-(-200 // stride)))[: len(chosen)]
    assert len(chosen) >= 200 // stride
    assert SamplePlan.of([7, 93], 10) == SamplePlan(10, (0, 7), 100)


def test_a_place_that_cannot_be_used_is_passed_on():
    """If the drawn frame fails a check, the next usable one of the stride is taken."""
    sampler, free = StrideSampler(10, 0), StrideSampler(10, 0)
    drawn = [number for number in range(100) if free.takes(number)]
    assert [number for number in range(100) if number not in drawn and sampler.takes(number)] == [
        number + 1 for number in drawn if number % 10 < 9
    ]


def faulty_drive(count: int = 80) -> list[Frame]:
    """One camera: two black pictures at the start, one that stands for half a second, one whose stamp goes back."""
    frames = frames_of(count, 3, ("front",))
    black = np.zeros_like(frames[0].image)
    frames[:2] = [Frame(black, frame.stamp_ns, "front") for frame in frames[:2]]
    frames[40:45] = [Frame(frames[39].image, frame.stamp_ns, "front") for frame in frames[40:45]]
    frames[60] = Frame(frames[60].image, frames[58].stamp_ns, "front")
    return frames


def test_faulty_images_are_left_out_and_counted(tmp_path, network, drives):
    """Black, frozen and misdated images are in no score; the counts are in the result and in the provenance."""
    result = write(tmp_path / "b", network, [drives[0], source("sunday", faulty_drive())])
    counts = result.counts["sunday"]
    assert counts.images == {"front": 80}
    assert counts.left_out == {"front": {"black": 2, "clock_back": 1, "frozen": 1}}
    assert result.provenance["calibration"]["left_out"] == {"sunday": counts.left_out}
    assert result.table.drives.counts() == {"monday": 80, "sunday": 76}
    assert len(result.fitted["multistage"].scores["block"]) == 156
    sampled = write(
        tmp_path / "s", network, [drives[0], source("sunday", faulty_drive())], max_sample=40, check=[drives[1]]
    )
    np.testing.assert_array_equal(sampled.table.stamps_ns, result.table.stamps_ns)
    assert np.isfinite(sampled.fitted["multistage"].scores["block"]).all()
    assert sampled.provenance["check_on_unseen_drives"]["knn"]["frames"] == 120


def test_a_drive_with_too_many_faulty_images_is_refused(tmp_path, network, drives):
    """The sentence names drive, camera, kinds, counts and option; with the option the drive is taken."""
    sunday = source("sunday", faulty_drive(60 + 19))
    with pytest.raises(CalibrationError, match=r"sunday .* 4 of its 79 .* camera front: 2 black, 1 .* --max-faulty"):
        write(tmp_path / "b", network, [drives[0], sunday])
    assert not (tmp_path / "b").exists()
    write(tmp_path / "b", network, [drives[0], sunday], settings={"max_faulty": 0.06})
    black = [Frame(np.zeros((24, 32, 3), np.uint8), START_NS + 10**8 * index, "front") for index in range(5)]
    with pytest.raises(
        CalibrationError, match=r"no image of night can be used: 5 black of the 5 images of camera front"
    ):
        write(tmp_path / "c", network, [drives[0], source("night", black)], settings={"max_faulty": 1.0})


def test_an_unreadable_picture_is_left_out(tmp_path, make_pictures):
    """A cut picture of a folder is an arrival without image for a calibration; as frames it stays an error."""
    folder = tmp_path / "drive"
    folder.mkdir()
    for index, picture in enumerate(make_pictures(5)):
        cv2.imwrite(str(folder / f"{index}.jpg"), picture)
    content = (folder / "3.jpg").read_bytes()
    (folder / "3.jpg").write_bytes(content[: len(content) // 8])
    for drive in (*open_drives([folder]), *open_drives([folder], start_s=0.0)):
        arrivals = list(drive.read_arrivals())
        assert [arrival.image is None for arrival in arrivals] == [False, False, False, True, False]
        assert drive.count_images() == 5
        with pytest.raises(DataError):
            list(drive.read())


def test_images_of_a_bag_are_counted_without_decoding_them(tmp_path, make_pictures):
    """Of a whole bag and of a part of it, with the topics that are read."""
    with FrameBagWriter(tmp_path / "bag") as writer:
        for index, picture in enumerate(make_pictures(12)):
            writer.write(("front", "rear")[index % 2], picture, START_NS + index * 100_000_000)
    assert open_drives([tmp_path / "bag"])[0].count_images() == 12
    assert open_drives([tmp_path / "bag"], start_s=0.5)[0].count_images() == 7
    topics = {"/front/image": "front"}
    drive = open_drives([tmp_path / "bag"], topics=topics, end_s=0.5)[0]
    assert drive.count_images() == len(list(drive.read_arrivals())) == 3


@pytest.fixture
def bags(tmp_path) -> list[DriveSource]:
    """Two bags with an unreadable message in one of them."""
    for name, seed in (("one", 1), ("two", 2)):
        with FrameBagWriter(tmp_path / name) as writer:
            for frame in frames_of(40, seed):
                writer.write(frame.camera, frame.image, frame.stamp_ns)
    return open_drives([tmp_path / "one", tmp_path / "two"])


def test_processes_give_the_same_bundle(tmp_path, network, bags):
    """Two processes, both passes, a further drive: same files as in one process."""
    alone, together = (
        write(tmp_path / str(jobs), network, bags, max_sample=20, runner=DriveRunner(jobs, work=work))
        for jobs, work in ((1, None), (2, None))
    )
    assert alone.bundle_id == together.bundle_id
    for name in DETECTORS:
        np.testing.assert_array_equal(alone.fitted[name].scores["drive"], together.fitted[name].scores["drive"])


def test_what_was_finished_is_not_read_again(tmp_path, network, drives):
    """After an interruption in either pass, only the other drives are read; the bundle equals one of a single run."""
    reads = Counter()

    def counted(drive: DriveSource, stop_at: int = 0) -> DriveSource:
        def read():
            reads[drive.name] += 1
            if reads[drive.name] == stop_at:
                raise KeyboardInterrupt
            return drive.read()

        return DriveSource(drive.name, read, drive.frames)

    def run(stop: dict[str, int], resume: bool):
        reads.clear()
        own = [counted(drive, stop.get(drive.name, 0)) for drive in drives]
        with WorkFolder(tmp_path / "b.unfinished", resume) as work:
            return write(tmp_path / "b", network, own, max_sample=50, runner=DriveRunner(work=work))

    with pytest.raises(KeyboardInterrupt):
        run({"tuesday": 1}, False)
    assert not (tmp_path / "b").exists()
    with pytest.raises(KeyboardInterrupt):
        run({"tuesday": 2}, True)
    assert reads == {"monday": 1, "tuesday": 2}  # the first pass of tuesday, then the second of both
    resumed = run({}, True)
    assert reads == {"tuesday": 1}
    assert not (tmp_path / "b.unfinished").exists()
    whole = write(tmp_path / "whole", network, drives, max_sample=50)
    assert resumed.bundle_id == whole.bundle_id
    with pytest.raises(KeyboardInterrupt):
        run({"tuesday": 1}, False)
    run({}, False)
    assert reads == {"monday": 2, "tuesday": 2}


def test_progress_after_a_resume_counts_what_was_read_before(tmp_path, network, drives):
    """The display of the resumed reading starts behind the finished drive, and ends at all images."""
    shown: list[int] = []

    @contextmanager
    def recorded(title: str, total: int | None):
        yield lambda done, note="": shown.append(done) if title == "Reading clean drives" else None

    def stopped():
        raise KeyboardInterrupt

    interrupted = [drives[0], DriveSource("tuesday", stopped, 120)]
    for own, resume in ((interrupted, False), (drives, True)):
        shown.clear()
        with suppress(KeyboardInterrupt), WorkFolder(tmp_path / "b.unfinished", resume) as work:
            write(tmp_path / "b", network, own, runner=DriveRunner(work=work), progress=recorded)
    assert shown[0] > 80
    assert shown[-1] == 200


def test_an_unsupported_target_is_refused_after_one_reading(tmp_path, network, drives):
    """Six seconds cannot support 20 an hour: refused before the drives are read a second time."""
    reads = Counter()

    def counted(drive: DriveSource) -> DriveSource:
        def read():
            reads[drive.name] += 1
            return drive.read()

        return DriveSource(drive.name, read, drive.frames)

    settings = {"target_per_hour": 20.0}
    with pytest.raises(CalibrationError, match=r"10\.0 s of clean driving cannot support a target of 20"):
        write(tmp_path / "b", network, [counted(drive) for drive in drives], max_sample=50, settings=settings)
    assert reads == {"monday": 1, "tuesday": 1}


def test_two_calibrations_do_not_share_a_folder(tmp_path):
    """The second one is refused."""
    with (
        WorkFolder(tmp_path / "b", False),
        pytest.raises(DataError, match="another calibration is writing"),
        WorkFolder(tmp_path / "b", True),
    ):
        pass
    assert not (tmp_path / "b").exists()


def test_a_full_disk_leaves_the_former_bundle(tmp_path, network, drives, monkeypatch):
    """One sentence; the bundle that was there is still whole, and nothing lies beside it."""
    before = write(tmp_path / "b", network, drives[:1]).bundle_id

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ls_ood_monitor.bundle.save_arrays", full)
    with pytest.raises(DataError, match=r"cannot be written to .*b: No space left on device"):
        write(tmp_path / "b", network, drives)
    assert load_bundle(tmp_path / "b", device="cpu").bundle_id == before
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_thin_table_is_small(sampled):
    """A kilobyte a frame, or the features of 50 frames; stamps and scores of all frames come back."""
    scores = {name: result.scores for name, result in sampled.fitted.items()}
    many = np.arange(3000) % 200
    table = sampled.table
    rows = FrameFeatures({name: values[np.arange(3000) % 50] for name, values in table.features.rows.items()})
    big = FeatureTable(rows, table.stamps_ns[many], table.cameras[many], table.drives[many])
    big_scores = {name: {unit: values[many] for unit, values in units.items()} for name, units in scores.items()}
    thin = thin_table(big, big_scores)
    data = pack_table(thin)
    assert len(data) <= BYTES_A_FRAME * 3000
    again = unpack_table(data)
    assert len(again) == 3000
    assert len(again.sampled) > 1500
    np.testing.assert_array_equal(again.sampled, thin.sampled)
    np.testing.assert_array_equal(again.features.of("stage_means"), thin.features.of("stage_means"))
    np.testing.assert_allclose(again.scores["knn"]["drive"], big_scores["knn"]["drive"], rtol=1e-6)
    assert len(thin_table(table, scores).sampled) >= MIN_FEATURES


def test_drives_are_added_to_a_thin_table(tmp_path, network, drives, sampled):
    """Old frames with features are scored anew, the others keep their scores; their blocks and drives count."""
    scores = {name: result.scores for name, result in sampled.fitted.items()}
    earlier = unpack_table(pack_table(thin_table(sampled.table, scores)))
    friday = source("friday", frames_of(40, 9))
    result = write(tmp_path / "b", network, [friday], earlier=earlier, max_sample=20)
    own = result.fitted["knn"].scores["block"]
    kept = earlier.is_sampled
    assert len(own) == 240
    np.testing.assert_allclose(own[:200][~kept], scores["knn"]["block"][~kept], rtol=1e-6)
    assert (own[:200][kept] != scores["knn"]["block"][kept]).any()
    assert np.isfinite(own).all()
    assert result.provenance["calibration"]["drives"] == {"monday": 80, "tuesday": 120, "friday": 40}
    assert result.fitted["knn"].rates["drive"].units == 3


def test_a_single_earlier_drive_gets_scores_of_held_out_drives(tmp_path, network, drives):
    """It held out no drive, so its frames without features take the score of the nearest frame that has features."""
    first = write(tmp_path / "a", network, drives[:1], max_sample=60)
    scores = {name: own.scores for name, own in first.fitted.items()}
    assert set(scores["knn"]) == {"block"}
    earlier = thin_table(first.table, scores)
    result = write(tmp_path / "b", network, drives[1:], earlier=earlier, max_sample=60)
    own = result.fitted["knn"].scores["drive"][:80]
    assert np.isfinite(own).all()
    assert set(own) == set(own[earlier.sampled])


def test_the_result_is_json(sampled):
    """Provenance has plain values only."""
    json.dumps(sampled.provenance, allow_nan=False)
