"""What is in a recording, what of it cannot be used, and why: for ``ls-ood inspect``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..datasets import open_pictures
from ..errors import DataError
from .bag_notes import bag_notes, driver_notes, lost_note, topic_options
from .bags import CDR, TopicSummary, bag_info, camera_of, has_images, is_camera, iter_arrivals
from .bags.files import is_ros1, storage_files, storage_suffix
from .drive_source import DriveSource, is_bag, open_drives, picture_drives, printable
from .image_statistics import ImageStatistics, StatisticsCollector
from .recording import refuse_other_folders

#: Pictures of a topic that are checked unless all are wanted; neighbours come in pairs, so that a frozen camera shows.
SAMPLE = 200
#: More faulty pictures than this share are a finding, as ``ls-ood calibrate`` refuses them.
MAX_FAULTY = 0.05
_MAX_SHOWN = 4

#: Called with the number of images read so far.
OnProgress = Callable[[int], None]


@dataclass(frozen=True)
class TopicReport:
    """One topic of a bag, or the images of a folder or video.

    Attributes:
        topic: its name; a drive's for pictures and videos.
        type_name: message type, with the serialisation if it is not of ROS; ``pictures`` or ``video``.
        promised: messages that it should hold; 0 = not stated.
        read: messages that were read; None if they were not, because they are no images.
        writers: publishers that the recorder saw; 0 = not known.
        camera: name by which the commands take it; empty if it is no camera.
        problem: why its messages cannot be used as images, the end of a sentence; empty if they can, or are no images.
        images: what they are like; None if they are no images.
    """

    topic: str
    type_name: str
    promised: int
    read: int | None
    writers: int
    camera: str
    problem: str
    images: ImageStatistics | None


@dataclass(frozen=True)
class RecordingReport:
    """One recording.

    Attributes:
        path: as given.
        kind: what it is, for people.
        duration_s: from the first to the last image or message, without clock steps.
        clock_steps: seconds of each step of the recorder's clock; negative = back.
        topics: in alphabetical order.
        options: options for the other commands to choose the cameras; empty if none are needed.
        findings: what is wrong or missing, each a sentence.
        notes: what is worth knowing, each a sentence.
    """

    path: str
    kind: str
    duration_s: float
    clock_steps: tuple[float, ...]
    topics: tuple[TopicReport, ...]
    options: str
    findings: tuple[str, ...]
    notes: tuple[str, ...]


def inspect_recording(path: Path, every: bool, on_progress: OnProgress) -> list[RecordingReport]:
    """Read a recording, and report on it; a folder of several drives gives a report for each.

    Args:
        path: bag, folder of pictures, or video.
        every: check every picture, not a sample.
        on_progress: called while it is read.

    Raises:
        DataError: it cannot be read at all.
    """
    if path.exists() and is_bag(path):
        return [_inspect_bag(path, every, on_progress)]
    refuse_other_folders(path)
    drives = picture_drives(open_pictures(path), printable(path.name)) if path.is_dir() else open_drives([path])
    return [_inspect_drive(path, drive, every, on_progress) for drive in drives]


def count_messages(path: Path) -> int | None:
    """Images to be read, as the recording states it; None if it does not, or cannot be opened."""
    try:
        if not is_bag(path):
            return None
        return sum(entry.messages for entry in bag_info(path, recover=True).topics if has_images(entry)) or None
    except (DataError, OSError):
        return None


def _inspect_bag(path: Path, every: bool, on_progress: OnProgress) -> RecordingReport:
    info = bag_info(path, recover=True)
    with_images = [entry for entry in info.topics if has_images(entry)]
    strides = {entry.topic: max(1, 2 * entry.messages // SAMPLE) for entry in with_images}
    collectors = {entry.topic: StatisticsCollector(entry.topic) for entry in with_images}
    broken_off = ""

    def decodes(topic: str, number: int) -> bool:
        return every or number % strides[topic] < 2

    arrivals = iter_arrivals(path, {topic: topic for topic in collectors}, recover=True, decodes=decodes)
    try:
        for number, arrival in enumerate(arrivals if collectors else ()):
            collectors[arrival.topic].add(arrival)
            on_progress(number + 1)
    except DataError as error:
        broken_off = str(error)
    images = {topic: collector.statistics() for topic, collector in collectors.items()}
    promised = {entry.topic: 0 for entry in with_images}
    for entry in with_images:
        promised[entry.topic] += entry.messages
    topics = tuple(_topic_report(entry, images) for entry in info.topics)
    usable = _usable_cameras(topics)
    findings = [text for text in (info.damage, broken_off) if text]
    findings += [note for topic, own in images.items() if (note := lost_note(topic, promised[topic], own.read))]
    if info.step_note:
        findings.append(f"{info.step_note[0].upper()}{info.step_note[1:]}")
    drivers = list(driver_notes(info, images))
    findings += drivers
    if not usable:
        findings.append("No topic has images that can be used.")
    for topic, own in images.items():
        findings += image_findings(topic, own)
    notes = [note for note in bag_notes(info) if note != info.step_note and note not in drivers]
    notes += [note for topic, own in images.items() for note in _image_notes(topic, own)]
    foreign = [entry.topic for entry in info.topics if entry.encoding != CDR]
    if foreign:
        notes.append(f"{', '.join(foreign)}: no messages of ROS 2; they are left alone.")
    return RecordingReport(
        path=printable(str(path)),
        kind=_kind_of_bag(path),
        duration_s=info.duration_s,
        clock_steps=tuple(step.size_s for step in info.steps),
        topics=topics,
        options="" if usable == info.cameras else topic_options(usable),
        findings=tuple(findings),
        notes=tuple(notes),
    )


def _topic_report(entry: TopicSummary, images: Mapping[str, ImageStatistics]) -> TopicReport:
    own = images.get(entry.topic) if has_images(entry) else None
    problem = ""
    if own is not None and own.checked and own.faults.get("unreadable", 0) == own.checked:
        problem = own.first_error.rstrip(".")
    elif own is not None and not own.read:
        problem = "it holds no message"
    return TopicReport(
        topic=entry.topic,
        type_name=entry.shown_type,
        promised=entry.messages,
        read=None if own is None else own.read,
        writers=entry.writers,
        camera=camera_of(entry.topic) if is_camera(entry) else "",
        problem=problem,
        images=own,
    )


def _usable_cameras(topics: Iterable[TopicReport]) -> dict[str, str]:
    """Topic -> camera of the topics to use; of several topics of one camera the one with most images."""
    best: dict[str, TopicReport] = {}
    for topic in topics:
        if not topic.camera or topic.problem or topic.images is None:
            continue
        before = best.get(topic.camera)
        if before is None or before.images is None or topic.images.read > before.images.read:
            best[topic.camera] = topic
    return {topic.topic: camera for camera, topic in best.items()}


def image_findings(name: str, images: ImageStatistics) -> Iterator[str]:
    """What is wrong with the images of a topic, a sentence each."""
    faulty = sum(images.faults.values())
    if faulty > MAX_FAULTY * images.checked:
        kinds = ", ".join(f"{count} {kind}" for kind, count in images.faults.items())
        error = f" {images.first_error}" if images.first_error else ""
        yield f"{name}: {faulty} of {images.checked} checked images fail the vehicle's checks: {kinds}.{error}"
    if images.stamps_back:
        yield f"{name}: the stamp goes back {images.stamps_back} times; the vehicle counts each as a fault."
    if len(images.frame_ids) > 1:
        yield (
            f"{name}: frames {', '.join(images.frame_ids[:_MAX_SHOWN])} come on one topic; probably two drivers publish it, and "
            "only one may."
        )


def _image_notes(name: str, images: ImageStatistics) -> Iterator[str]:
    """What is worth knowing of the images of a topic, a sentence each."""
    faulty = sum(images.faults.values())
    if 0 < faulty <= MAX_FAULTY * images.checked:
        kinds = ", ".join(f"{count} {kind}" for kind, count in images.faults.items())
        error = f" {images.first_error}" if images.first_error else ""
        yield f"{name}: of {images.checked} checked images {kinds}.{error}"
    if images.repeated > images.faults.get("frozen", 0):
        yield f"{name}: {images.repeated} of {images.checked} checked pictures equal the one before."
    if images.gaps:
        yield (
            f"{name}: {images.gaps} gap{'s' if images.gaps > 1 else ''} in the images, the longest {images.longest_gap_s:.1f} s "
            f"at {images.longest_gap_at_s:.1f} s."
        )
    if images.stamps_repeated:
        yield f"{name}: {images.stamps_repeated} images have the stamp of the image before."
    if images.has_foreign_clock and images.age_s is not None:
        yield (
            f"{name}: stamps are {abs(images.age_s):.0f} s {'behind' if images.age_s > 0 else 'ahead of'} the reception: "
            "they are of another clock, so no image counts as late."
        )
    if len(images.layouts) > 1:
        yield f"{name}: encodings {', '.join(images.layouts[:_MAX_SHOWN])} on one topic."


def _kind_of_bag(path: Path) -> str:
    if is_ros1(path):
        return "ROS 1 bag"
    storages = storage_files(path)
    kinds = {{".mcap": "mcap", ".db3": "sqlite3"}[storage_suffix(file)] for file in storages}
    return f"ROS 2 bag ({', '.join(sorted(kinds))}, {len(storages)} file{'s' if len(storages) > 1 else ''})"


def _inspect_drive(path: Path, drive: DriveSource, every: bool, on_progress: OnProgress) -> RecordingReport:
    """A drive of pictures, or a video; without ``every`` only its first pictures are read."""
    collectors: dict[str, StatisticsCollector] = {}
    limit = None if every else SAMPLE
    is_part, broken_off, last_ns, first_ns = False, "", 0, 0
    try:
        for number, arrival in enumerate(drive.read_arrivals()):
            if number == limit:
                is_part = True
                break
            first_ns = first_ns or arrival.stamp_ns
            last_ns = arrival.stamp_ns
            collectors.setdefault(arrival.camera, StatisticsCollector(arrival.camera)).add(arrival)
            on_progress(number + 1)
    except DataError as error:
        if not collectors:
            raise
        broken_off = str(error)
    stated = drive.frames if drive.frames is not None else drive.count() if drive.count is not None else 0
    images = {camera: collector.statistics() for camera, collector in collectors.items()}
    read = sum(own.read for own in images.values())
    kind = "video" if path.is_file() else "pictures"
    topics = tuple(
        TopicReport(camera, kind, stated if len(images) == 1 else 0, own.read, 0, camera, "", own)
        for camera, own in sorted(images.items())
    )
    findings = [broken_off] if broken_off else []
    findings += [text for camera, own in images.items() for text in image_findings(camera, own)]
    notes = [note for camera, own in images.items() for note in _image_notes(camera, own)]
    if is_part:
        notes.append(f"The first {read} of {stated or 'an unknown number of'} images were read; --all reads every one.")
    if drive.assumed_rate_hz is not None:
        notes.append(f"Pictures carry no time; they count as taken at {drive.assumed_rate_hz:g} Hz (--rate).")
    return RecordingReport(
        path=printable(str(drive.path or path)),
        kind=kind,
        duration_s=(last_ns - first_ns) / 1e9,
        clock_steps=(),
        topics=topics,
        options="",
        findings=tuple(findings),
        notes=tuple(notes),
    )
