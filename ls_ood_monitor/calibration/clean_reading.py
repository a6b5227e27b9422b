"""Reading a clean drive: its images pass the vehicle's own checks, and those that fail are left out and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ..core.causes import CauseKind
from ..core.input_validation import FrameValidator
from ..core.types import Frame
from ..errors import CalibrationError
from ..recordings.bags import ImageArrival


@dataclass(frozen=True)
class FaultCounts:
    """How many images of a drive were read and left out.

    Attributes:
        images: camera -> number of images read.
        left_out: camera -> kind of fault (``CauseKind``) -> number of images left out.
    """

    images: Mapping[str, int]
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Number of images left out."""
        return sum(sum(kinds.values()) for kinds in self.left_out.values())


class FrameChecks:
    """The vehicle's checks of the images of one drive, each camera on its own, on the clock of the recording."""

    def __init__(self) -> None:
        self._validators: dict[str, FrameValidator] = {}
        self._images: Counter[str] = Counter()
        self._left_out: dict[str, Counter[str]] = {}

    def frame_of(self, arrival: ImageArrival) -> Frame | None:
        """The frame of an image; None if it fails a check."""
        self._images[arrival.camera] += 1
        kind = CauseKind.UNREADABLE
        if arrival.image is not None:
            frame = Frame(arrival.image, arrival.stamp_ns, arrival.camera)
            validator = self._validators.setdefault(arrival.camera, FrameValidator(arrival.camera))
            cause = validator.check(frame, arrival.received_ns) or validator.check_encoding(arrival.encoding)
            if cause is None:
                return frame
            kind = cause.kind
        self._left_out.setdefault(arrival.camera, Counter())[kind.value] += 1
        return None

    @property
    def counts(self) -> FaultCounts:
        """The counts so far."""
        left_out = {camera: dict(sorted(kinds.items())) for camera, kinds in sorted(self._left_out.items())}
        return FaultCounts(dict(sorted(self._images.items())), left_out)


def checked_frames(arrivals: Iterable[ImageArrival], checks: FrameChecks) -> Iterator[tuple[int, Frame]]:
    """Yield the number among the arrivals, and the frame, of each image that passes the checks."""
    for number, arrival in enumerate(arrivals):
        frame = checks.frame_of(arrival)
        if frame is not None:
            yield number, frame


def require_clean(drive: str, counts: FaultCounts, max_faulty: float) -> None:
    """Refuse a drive without images, or of which more than a share of the images was left out.

    Raises:
        CalibrationError: with the drive, the camera with most faults, the kinds, the counts and the option.
    """
    images = sum(counts.images.values())
    if not images:
        raise CalibrationError(
            f"there are no frames to calibrate on in {drive}; check the recording, its topics and the time range."
        )
    if counts.total <= max_faulty * images and counts.total < images:
        return
    camera = max(counts.left_out, key=lambda name: sum(counts.left_out[name].values()))
    kinds = sorted(counts.left_out[camera].items(), key=lambda item: -item[1])
    listing = ", ".join(f"{count} {kind}" for kind, count in kinds)
    if counts.total == images:
        raise CalibrationError(
            f"no image of {drive} can be used: {listing} of the {counts.images[camera]} images of camera {camera}; "
            "leave the drive out, or record it again."
        )
    raise CalibrationError(
        f"{drive} is no clean drive: {counts.total} of its {images} images fail the vehicle's checks "
        f"({counts.total / images:.1%}; at most {max_faulty:.1%} are accepted), most of camera {camera}: {listing} of "
        f"{counts.images[camera]}. Leave the drive out, cut it with --start and --end, or accept more with --max-faulty."
    )


def fault_note(drive: str, counts: FaultCounts) -> str:
    """What was left out of a drive, as a sentence; empty if nothing was."""
    if not counts.total:
        return ""
    cameras = (
        f"{camera}: {', '.join(f'{count} {kind}' for kind, count in kinds.items())}"
        for camera, kinds in counts.left_out.items()
    )
    images = sum(counts.images.values())
    return f"{drive}: {counts.total} of {images} images are left out ({'; '.join(cameras)})."
