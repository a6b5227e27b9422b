"""Drives as sources of frames: bags, folders of pictures, videos, data sets and the street."""

from __future__ import annotations

import pickle
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from ls_ood_monitor.errors import ConfigError, DataError
from ls_ood_monitor.recordings.bags import FrameBagWriter
from ls_ood_monitor.recordings.drive_source import dataset_drives, distinct, open_drives, without_spans
from ls_ood_monitor.recordings.video_size import promised_bytes
from ls_ood_monitor.street.drive_sources import street_drives


def write_pictures(folder: Path, pictures: list[np.ndarray]) -> None:
    """Numbered pictures."""
    folder.mkdir(parents=True)
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{index:03d}.png"), picture)


@pytest.fixture
def bag(tmp_path, make_pictures) -> Path:
    """Two cameras, 2 Hz, 5 seconds."""
    with FrameBagWriter(tmp_path / "monday" / "bag") as writer:
        for index, picture in enumerate(make_pictures(10)):
            for camera in ("front", "left"):
                writer.write(camera, picture, 10**18 + index * 500_000_000)
    return tmp_path / "monday" / "bag"


def test_a_bag_is_a_drive(bag):
    """A bag's drive is named with its parent folder and has the recorded stamps; topics and times choose a part."""
    (drive,) = open_drives([bag])
    assert (drive.name, drive.assumed_rate_hz) == ("monday/bag", None)
    assert [(frame.camera, frame.stamp_ns) for frame in drive.read()][:3] == [
        ("front", 10**18),
        ("left", 10**18),
        ("front", 10**18 + 500_000_000),
    ]
    (part,) = open_drives([bag], topics={"/left/image": "side"}, start_s=1.0, end_s=3.0)
    assert [frame.camera for frame in part.read()] == ["side"] * 4


def test_each_folder_of_pictures_is_a_drive(tmp_path, make_pictures):
    """Each sub-folder is a drive, and its stamps count up at the given rate, or at an assumed one."""
    write_pictures(tmp_path / "clean" / "a", make_pictures(3))
    write_pictures(tmp_path / "clean" / "b", make_pictures(12))
    drives = open_drives([tmp_path / "clean"])
    assert [(drive.name.split("/")[1:], drive.frames, drive.assumed_rate_hz) for drive in drives] == [
        (["clean", "a"], 3, 10.0),
        (["clean", "b"], 12, 10.0),
    ]
    stamps = [frame.stamp_ns for frame in drives[1].read()]
    assert set(np.diff(stamps)) == {100_000_000}
    (given, _) = open_drives([tmp_path / "clean"], rate_hz=25.0)
    assert given.assumed_rate_hz is None
    assert set(np.diff([frame.stamp_ns for frame in given.read()])) == {40_000_000}
    (part,) = open_drives([tmp_path / "clean" / "b"], start_s=0.2, end_s=0.5)
    assert len(list(part.read())) == 3
    with pytest.raises(ConfigError, match="rate is 0"):
        open_drives([tmp_path / "clean"], rate_hz=0.0)


def test_a_video_is_a_drive(tmp_path, make_pictures):
    """A video gives frames in order with stamps from its own rate; another file gives a clear error."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no MJPG")
    for picture in make_pictures(6):
        writer.write(picture)
    writer.release()
    (drive,) = open_drives([path])
    frames = list(drive.read())
    assert [frame.image.shape for frame in frames] == [(48, 64, 3)] * 6
    assert set(np.diff([frame.stamp_ns for frame in frames])) == {50_000_000}
    path.write_bytes(b"nonsense")
    with pytest.raises(DataError, match="cannot read the video"):
        list(drive.read())


def test_images_are_counted_before_they_are_read(tmp_path, make_pictures, bag):
    """A video, a part of it, a folder and a part of it: as many as ``read_arrivals`` yields."""
    video, folder = tmp_path / "video.avi", tmp_path / "pictures"
    write_video(video, "MJPG", 20)
    write_pictures(folder, make_pictures(6))
    for path, count, part in ((video, 20, 10), (folder, 6, 5), (bag, None, None)):
        (whole,), (cut,) = open_drives([path]), open_drives([path], start_s=0.1, end_s=0.6)
        for drive, expected in ((whole, count), (cut, part)):
            assert drive.count_images() == len(list(drive.read_arrivals()))
            assert expected in (None, drive.count_images())


def test_parts_can_be_left_out(tmp_path, make_pictures, bag):
    """What lies between two times is not read, whether by frame, by arrival or as a part; the other images stay."""
    folder = tmp_path / "pictures"
    write_pictures(folder, make_pictures(20))
    for path, rate in ((folder, 10.0), (bag, None)):
        (drive,) = open_drives([path], rate_hz=rate)
        stamps = [frame.stamp_ns for frame in drive.read()]
        elapsed = (np.array(stamps) - stamps[0]) / 1e9
        kept = without_spans(drive, [(0.0, 0.25), (0.7, 0.95)])
        expected = [
            stamp for stamp, time_s in zip(stamps, elapsed, strict=True) if not (time_s < 0.25 or 0.7 <= time_s < 0.95)
        ]
        assert 0 < len(expected) < len(stamps)
        assert [frame.stamp_ns for frame in kept.read()] == expected
        assert [arrival.stamp_ns for arrival in kept.read_part(0.0, 100.0)] == expected
        assert kept.count_images() == len(expected)
        assert kept.part != drive.part


def test_a_drive_can_be_sent_to_another_process(tmp_path, make_pictures, bag):
    """Bags, parts of folders, and the street, which is rendered there."""
    folder = tmp_path / "pictures"
    write_pictures(folder, make_pictures(3))
    for drive in (*open_drives([bag]), *open_drives([folder], start_s=0.1)):
        first, again = (next(source.read()) for source in (drive, pickle.loads(pickle.dumps(drive))))
        assert (again.camera, again.stamp_ns) == (first.camera, first.stamp_ns)
        np.testing.assert_array_equal(again.image, first.image)
    (street,) = pickle.loads(pickle.dumps(street_drives([3000], 1)))
    assert next(street.read()).stamp_ns >= 3000 * 3_600_000_000_000


def write_video(path: Path, codec: str, count: int = 60) -> bytes:
    """Write noise at 20 Hz, which no codec makes small. Returns the content of the file."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 20.0, (64, 48))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV writes no {codec} into {path.suffix}")
    for picture in np.random.default_rng(0).integers(0, 256, (count, 48, 64, 3), dtype=np.uint8):
        writer.write(picture)
    writer.release()
    return path.read_bytes()


def read_until_the_cut(path: Path) -> tuple[int, str]:
    """Number of pictures that could be read, and the error after them; empty if there was none."""
    (drive,) = open_drives([path])
    count = 0
    try:
        for _ in drive.read():
            count += 1
    except DataError as error:
        return count, str(error)
    return count, ""


@pytest.mark.parametrize(("suffix", "codec"), [(".avi", "MJPG"), (".mkv", "MJPG"), (".mp4", "mp4v")])
def test_a_video_that_was_cut_off_is_told(tmp_path, capfd, suffix, codec):
    """The error for a cut video states how much is missing; a whole one, and one without its last bytes, are read."""
    path = tmp_path / f"clip{suffix}"
    content = write_video(path, codec)
    assert promised_bytes(path) in range(
        len(content) - 1, len(content) + 2
    )  # an odd chunk of AVI has a byte of padding
    capfd.readouterr()
    assert read_until_the_cut(path) == (60, "")
    path.write_bytes(content[: int(0.6 * len(content))])
    count, sentence = read_until_the_cut(path)
    assert sentence.startswith(f"The video {path} is cut off: its file has 0.")
    assert sentence.endswith(f"{f'{count} of 60' if count else 'none of its'} images can be read. Copy it again.")
    if suffix == ".mp4":  # its index stands at the end, and without it there is nothing
        assert count == 0
    else:
        assert 20 < count < 45
        (part,) = open_drives([path], end_s=0.5)
        assert len(list(part.read())) == 10
        path.write_bytes(content[:-20])
        assert read_until_the_cut(path) == (60, "")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "promised"),
    [
        (b"RIFF" + (100).to_bytes(4, "little") + b"AVI ", 108),
        (b"RIFF" + bytes(4) + b"AVI LIST", 0),  # never closed
        (b"\x00\x00\x00\x10ftypisom1234\x00\x00\x01\x00mdat", 16 + 256),
        (b"\x00\x00\x00\x10ftypisom1234\x00\x00\x00\x01mdat" + (2**33).to_bytes(8, "big"), 16 + 2**33),
        (b"\x00\x00\x00\x10ftypisom1234\x00\x00\x00\x00mdat12345678", 16),  # to the end, wherever that is
        (b"\x1a\x45\xdf\xa3\x82ab\x18\x53\x80\x67\x41\x00", 7 + 6 + 256),
        (b"\x1a\x45\xdf\xa3\x82ab\x18\x53\x80\x67\x01" + b"\xff" * 7, 0),  # recorded as it came
        (b"\x1a\x45\xdf\xa3\x82ab", 0),
        (b"\x00\x00\x01\xba a stream without a size", 0),
        (b"", 0),
    ],
)
def test_what_a_video_says_of_its_size(tmp_path, content, promised):
    """The size is read from the headers of the usual containers; it is 0 if it is unknown."""
    (tmp_path / "clip").write_bytes(content)
    assert promised_bytes(tmp_path / "clip") == promised


def test_sequences_of_a_data_set_are_drives(tmp_path):
    """The drives of WoodScape are blocks of indices, with the cameras of its file names."""
    for folder in ("rgb_images", "semantic_annotations/gtLabels"):
        (tmp_path / folder).mkdir(parents=True)
    for index, code in ((1, "FV"), (2, "MVL"), (150, "RV")):
        for folder in ("rgb_images", "semantic_annotations/gtLabels"):
            cv2.imwrite(str(tmp_path / folder / f"{index:05d}_{code}.png"), np.zeros((8, 8), np.uint8))
    drives = dataset_drives("woodscape", tmp_path)
    assert [drive.name for drive in drives] == ["woodscape/00000-00099", "woodscape/00100-00199"]
    assert [[frame.camera for frame in drive.read()] for drive in drives] == [["front", "left"], ["rear"]]


def test_drives_of_the_street():
    """A street drive has two moments of four cameras."""
    from ls_ood_monitor.street.shots import CAMERA_SIZE

    drive, _ = street_drives([3000, 3001])
    frames = list(drive.read())
    assert (drive.name, drive.frames, len(frames)) == ("street-3000", 8, 8)
    assert len({frame.camera for frame in frames}) == 4
    assert frames[0].image.shape[1::-1] == CAMERA_SIZE


def test_what_is_no_drive_is_a_sentence(tmp_path, bag):
    """A missing path, another file, an unclosed recording, and a drive given twice each give a clear error."""
    with pytest.raises(DataError, match="there is no"):
        open_drives([tmp_path / "nowhere"])
    (tmp_path / "notes.txt").write_text("clean")
    with pytest.raises(DataError, match="neither a bag nor"):
        open_drives([tmp_path / "notes.txt"])
    (tmp_path / "single.JPG").write_bytes(b"picture")
    with pytest.raises(DataError, match=f"nor a video. Give the folder that it lies in, {tmp_path}"):
        open_drives([tmp_path / "single.JPG"])
    (bag / "metadata.yaml").unlink()
    with pytest.raises(DataError, match="no metadata"):
        list(open_drives([bag])[0].read())
    with pytest.raises(ConfigError, match="two drives are named monday/bag"):
        distinct([*open_drives([bag]), *open_drives([bag])])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".3gp"])
def test_a_variable_frame_rate_keeps_its_times(tmp_path, suffix):
    """Five frames a second, then one a second: the stamps are those that the encoder was given, and all are counted."""
    av = pytest.importorskip("av")
    times_ms = [200 * index for index in range(10)] + [2000 + 1000 * index for index in range(5)]
    path = tmp_path / f"clip{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * index, np.uint8), format="bgr24")
            frame.pts, frame.time_base = 5000 + time_ms, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (drive,) = open_drives([path])
    stamps = [frame.stamp_ns for frame in drive.read()]
    assert [round((stamp - stamps[0]) / 1e6) for stamp in stamps] == times_ms
    assert drive.count_images() == len(times_ms)
    (given,) = open_drives([path], rate_hz=10.0)
    assert set(np.diff([frame.stamp_ns for frame in given.read()])) == {100_000_000}


def test_a_stream_without_times_needs_a_rate(tmp_path):
    """A bare H.264 stream has no times: a sentence asks for the rate, and with one it is read."""
    av = pytest.importorskip("av")
    path = tmp_path / "clip.h264"
    with av.open(str(path), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(6):
            picture = np.full((48, 64, 3), 10 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    (drive,) = open_drives([path])
    with pytest.raises(DataError, match="does not say when its pictures were taken; give --rate"):
        list(drive.read())
    (given,) = open_drives([path], rate_hz=5.0)
    assert [frame.stamp_ns // 10**6 % 10_000 for frame in given.read()] == [0, 200, 400, 600, 800, 1000]


def test_a_hole_inside_a_video_is_told(tmp_path, caplog):
    """A part that is zero is patched by the decoder; the log counts the damaged packets, and none in a whole video."""
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(20):
            picture = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    (drive,) = open_drives([path])
    assert len(list(drive.read())) == 20
    assert not caplog.text
    content = path.read_bytes()
    middle = content.index(b"mdat") + (len(content) - content.index(b"mdat")) // 2
    path.write_bytes(content[:middle] + bytes(300) + content[middle + 300 :])
    list(drive.read())
    assert "of its packets are damaged" in caplog.text
