"""Reading and calibration for Python programs; ``ls-ood calibrate`` has more options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import datasets
from .bundle import load_bundle, open_bundle
from .calibration.calibrated_bundle import write_calibrated_bundle
from .calibration.settings import CalibrationSettings
from .config import from_mapping
from .core.detectors import DEFAULT_DETECTORS, required_features
from .core.types import Frame
from .errors import ConfigError
from .frame_pass import LatentSettings
from .monitor import OodMonitor
from .recordings.drive_source import ASSUMED_RATE_HZ, DriveSource, open_drives

#: False alarms an hour that are accepted where the clean driving is long enough, as in ``ls-ood calibrate``.
PER_HOUR = 20.0
#: Share of clean frames above the threshold elsewhere.
RATE = 0.01


def read_picture(path: Path | str) -> NDArray[np.uint8]:
    """Read a picture file as BGR uint8 (H, W, 3). Raises ``DataError`` if it is missing, damaged or no picture."""
    return datasets.files.read_picture(Path(path))


def calibrate(
    data: Path | str | Sequence[Path | str] | Sequence[NDArray[np.uint8]],
    out: Path | str,
    *,
    target_per_hour: float | None = None,
    target_rate: float | None = None,
    rate_hz: float | None = None,
    bundle: Path | str | None = None,
    detectors: Sequence[str] = (),
    detector: str = "",
    hold_out: str | None = None,
    block_s: float = 10.0,
    allow_small: bool = False,
    sensitivity_s: float = 0.0,
    device: str = "auto",
) -> OodMonitor:
    """Fit detectors to clean data, set thresholds, write a bundle, and load it.

    Args:
        data: clean recordings (bags, folders of pictures, videos), one or several; or pictures of one drive, BGR uint8
            (H, W, 3), in order of time.
        out: bundle folder to write.
        target_per_hour: accepted false alarms an hour of driving; None = 20 where the driving is long enough, else
            ``target_rate``.
        target_rate: accepted share of clean frames above the threshold; None = 1 %.
        rate_hz: frame rate of pictures, which carry no time; None = 10, noted as assumed.
        bundle: to start from; None = the embedded one.
        detectors: to fit; empty = those of the bundle.
        detector: raises the alarm; empty = the bundle's.
        hold_out: ``block``, ``drive`` or ``worst``; None = drives for a target an hour if there are several, else blocks.
        block_s: length of a block, seconds.
        allow_small: accept data that cannot support the target, with a warning in the bundle.
        sensitivity_s: seconds to spend on disturbing clean clips and measuring the delay of the alarm; 0 = not measured.
        device: auto, cpu, cuda or cuda:<index>.

    Raises:
        CalibrationError: too few clean frames, too many faulty ones, or data that cannot support the target.
        ConfigError: a setting that does not fit.
        DataError: a recording cannot be read, or the bundle cannot be written.
    """
    if target_per_hour is not None and target_rate is not None:
        raise ConfigError("target_per_hour and target_rate are both given; give one.")
    drives = _drives(data, rate_hz)
    opened = open_bundle(bundle, device=device)
    content = opened.manifest.content
    adopted = content["provenance"].get("adopted", {}).get("detectors", DEFAULT_DETECTORS)
    names = tuple(detectors) or tuple(content["thresholds"]) or tuple(adopted)
    opened.frame_pass.require_detectors(names)
    has_target = target_per_hour is not None or target_rate is not None
    settings = CalibrationSettings(
        target_rate=RATE if target_rate is None else target_rate,
        target_per_hour=target_per_hour,
        per_hour_if_supported=None if has_target else PER_HOUR,
        hold_out=hold_out,
        block_s=block_s,
        allow_small=allow_small,
    )
    write_calibrated_bundle(
        Path(out),
        opened.frame_pass.with_features(required_features(names)),
        from_mapping(LatentSettings, content["latents"]),
        opened.class_names,
        drives,
        settings,
        detector=detector or (str(content["detector"]) if content["detector"] in names else names[0]),
        names=names,
        provenance=content["provenance"],
        progress=_silent,
        sensitivity_s=sensitivity_s,
    )
    return load_bundle(out, device=device)


def _drives(
    data: Path | str | Sequence[Path | str] | Sequence[NDArray[np.uint8]], rate_hz: float | None
) -> list[DriveSource]:
    parts = [data] if isinstance(data, (str, Path)) else data
    if len(parts) and isinstance(parts[0], np.ndarray):
        return [_drive_of_pictures(parts, rate_hz)]  # type: ignore[arg-type]
    drives = open_drives(parts, rate_hz=rate_hz)  # type: ignore[arg-type]
    if not drives:
        raise ConfigError("there is nothing to calibrate on; give clean recordings or pictures.")
    return drives


def _drive_of_pictures(pictures: Sequence[NDArray[np.uint8]], rate_hz: float | None) -> DriveSource:
    period_ns = round(1e9 / (rate_hz or ASSUMED_RATE_HZ))

    def read() -> Iterator[Frame]:
        for index, picture in enumerate(pictures, start=1):
            yield Frame(picture, index * period_ns, "camera")

    return DriveSource("pictures", read, len(pictures), None if rate_hz else ASSUMED_RATE_HZ)


@contextmanager
def _silent(title: str, total: int | None) -> Iterator[_NoProgress]:
    yield _NoProgress()


class _NoProgress:
    def __call__(self, done: int, note: str = "") -> None:
        """Show nothing."""
