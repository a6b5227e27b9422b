"""The three protocols: which pictures calibrate, which are the clean control, and which are out of distribution.

In each protocol no test picture influences a fit or a threshold, all pictures are preprocessed alike, and pictures are
grouped in units (drives, sequences, blocks of time) that are held out and resampled as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any

from ..anomalies import ANOMALIES
from ..datasets import PictureFolder, Sample, Split, open_cityscapes, open_woodscape, open_woodscape_soiling, split_of
from ..errors import ConfigError
from ..recordings.drive_source import DriveSource, distinct, open_drives
from ..street import CAMERAS
from ..street.shots import CALIBRATION_DRIVES, TEST_DRIVES, spread_shots
from .conditions import HARMLESS_CHANGES, Condition, make_conditions
from .pictures import Picture, PictureSet

ALL_KINDS: tuple[str, ...] = tuple(kind for kind in ANOMALIES if kind != "identity")
ALL_SEVERITIES = (1, 2, 3, 4, 5)
#: Anomalies of the reference. It draws their strength at random without a seed; here it is the middle severity.
LAREX_KINDS, LAREX_SEVERITIES = ("mud", "fog", "sun_flare"), (3,)
_MIN_DRIVES = 5  # fewer test drives say little about the spread between drives


@dataclass(frozen=True)
class Protocol:
    """One way to compare detectors."""

    name: str  # on the command line
    domain: str  # what the pictures are, printed with the figures
    calibration: PictureSet  # clean pictures to which detectors are fitted and from which thresholds come
    control: PictureSet  # unseen clean pictures, tested in every condition
    conditions: tuple[Condition, ...]  # of the control; the first is clean
    recorded: tuple[PictureSet, ...]  # recorded OoD sets, tested unchanged
    unit: str  # that the test counts and resamples
    held_out: str  # unit that the calibration holds out: drive, block or sequence
    facts: dict[str, Any]  # exactly which data were used, as plain values for JSON
    notes: tuple[str, ...]  # what the figures do not show, as sentences


def street_protocol(
    *,
    calibration_drives: int = 60,
    drives: int = 30,
    per_drive: int = 2,
    kinds: Sequence[str] = ALL_KINDS,
    severities: Sequence[int] = ALL_SEVERITIES,
) -> Protocol:
    """The procedural street: calibration drives and unseen test drives, ``per_drive`` moments of four cameras each.

    Raises ``ConfigError`` for a number outside its range, or an unknown kind or severity.
    """
    for label, value, low, high in (
        ("calibration drives", calibration_drives, 2, len(CALIBRATION_DRIVES)),
        ("drives", drives, 2, len(TEST_DRIVES)),
        ("moments per drive", per_drive, 1, 100),
    ):
        if not low <= value <= high:
            raise ConfigError(f"number of {label} is {value}; it must lie within [{low}, {high}].")

    def shots(name: str, chosen: range) -> PictureSet:
        # Moments of one camera follow each other, because they share the camera's view of the drive.
        ordered = sorted(spread_shots(chosen, per_drive, CAMERAS), key=attrgetter("drive", "camera", "time_s"))
        return PictureSet(name, len(ordered), lambda: (Picture(str(shot.drive), shot) for shot in ordered))

    calibration, test = CALIBRATION_DRIVES[:calibration_drives], TEST_DRIVES[:drives]
    return Protocol(
        name="street",
        domain="procedural fisheye street (synthetic)",
        calibration=shots("calibration drives", calibration),
        control=shots("unseen drives", test),
        conditions=make_conditions(kinds, severities),
        recorded=(),
        unit="drive",
        held_out="drive",
        facts={
            "calibration_drives": [calibration.start, calibration.stop],
            "test_drives": [test.start, test.stop],
            "moments_per_drive": per_drive,
            "cameras": list(CAMERAS),
        },
        notes=(
            "Street and disturbances are synthetic: the figures say nothing about real cameras.",
            "Intervals cover the choice of test drives, not that of the calibration drives.",
        ),
    )


def recordings_protocol(
    clean: Sequence[Path],
    test: Sequence[Path],
    ood: Sequence[Path] = (),
    *,
    kinds: Sequence[str] = ALL_KINDS,
    severities: Sequence[int] = ALL_SEVERITIES,
    rate_hz: float = 10.0,
    block_s: float = 10.0,
    every: int = 1,
    topics: dict[str, str] | None = None,
) -> Protocol:
    """Own recordings: ``clean`` calibrate, ``test`` are the control, ``ood`` must alarm. Bags, folders of pictures or videos.

    Args:
        clean: drives in distribution.
        test: further clean drives, none of ``clean``.
        ood: drives out of distribution.
        kinds: synthetic anomalies, applied to ``test``.
        severities: of these anomalies.
        rate_hz: frame rate of pictures in folders, which carry no time.
        block_s: length of the blocks that are held out, seconds.
        every: use each n-th frame of each recording.
        topics: image topic -> camera, for bags; None takes every camera topic.

    Raises:
        ConfigError: no recordings, one with two uses, or a setting outside its range.
        DataError: there is no such recording.
    """
    if not clean or not test:
        raise ConfigError("the protocol recordings needs --clean DRIVE... to calibrate on and --test DRIVE... unseen.")
    uses: dict[Path, str] = {}
    for use, paths in (("--clean", clean), ("--test", test), ("--ood", ood)):
        for path in paths:
            if uses.setdefault(path.resolve(), use) != use:
                raise ConfigError(f"{path} is in {uses[path.resolve()]} and in {use}; a drive has one use.")
    for option, value in (("--every", every), ("--rate", rate_hz), ("--block", block_s)):
        if not 0 < value < float("inf"):
            raise ConfigError(f"{option} is {value}; it must be larger than 0.")

    def pictures(name: str, drives: Sequence[DriveSource], *, blocks: bool = True) -> PictureSet:
        def read() -> Iterator[Picture]:
            for drive in drives:
                first: int | None = None
                for frame in islice(drive.read(), None, None, every):
                    first = frame.stamp_ns if first is None else first
                    block = int((frame.stamp_ns - first) // (block_s * 1e9))
                    yield Picture(f"{drive.name}/{block}" if blocks else drive.name, frame.image, drive.name)

        counts = [drive.frames for drive in drives]
        known = None if None in counts else sum(-(-(count or 0) // every) for count in counts)
        return PictureSet(name, known, read)

    opened = partial(open_drives, topics=topics, rate_hz=rate_hz)
    calibration, control = opened(clean), opened(test)
    distinct([*calibration, *control])  # a drive with the same name in both would be compared with itself
    by_drive = len(control) >= _MIN_DRIVES
    notes = [
        "Disturbances are synthetic; recorded sets (--ood) are real.",
        "One threshold a detector, for all cameras.",
    ]
    if not by_drive:
        notes.append(
            f"{len(control)} test drives are too few to be the units: intervals come from blocks of {block_s:g} s "
            "and do not cover the spread from drive to drive."
        )
    return Protocol(
        name="recordings",
        domain="recordings given by the user",
        calibration=pictures("clean drives", calibration),
        control=pictures("unseen drives", control, blocks=not by_drive),
        conditions=make_conditions(kinds, severities),
        recorded=tuple(pictures(name, opened([path])) for name, path in zip(_names(ood), ood, strict=True)),
        unit="drive" if by_drive else f"block of {block_s:g} s",
        held_out="block",
        facts={
            "clean": [str(path) for path in clean],
            "test": [str(path) for path in test],
            "ood": [str(path) for path in ood],
            "every": every,
            "block_s": block_s,
            "held_out": f"blocks of {block_s:g} s of the clean drives",
        },
        notes=tuple(notes),
    )


def larex_protocol(
    woodscape: Path,
    cityscapes: Path | None = None,
    soiling: Path | None = None,
    *,
    split: Split | None = None,
    seed: int = 0,
    kinds: Sequence[str] = LAREX_KINDS,
    severities: Sequence[int] = LAREX_SEVERITIES,
    limit: int | None = None,
) -> Protocol:
    """The protocol of the reference: WoodScape against synthetic anomalies, Cityscapes and WoodScape soiling.

    The training pictures fit the detectors and give the thresholds, held out by sequence. The validation and test
    pictures are the control. Unlike in the reference, sequences are never divided, every set has the same preprocessing
    and resampling filter, no test picture influences a threshold, no sign is flipped, and figures have intervals.

    Args:
        woodscape: root of the set (``rgb_images``, ``semantic_annotations``).
        cityscapes: root (``leftImg8bit``, ``gtFine``); None leaves it out.
        soiling: root of WoodScape soiling (``train``, ``test``); None leaves it out.
        split: split that the network was trained with; None draws one by sequence from ``seed``.
        seed: seed of that split.
        kinds: synthetic anomalies.
        severities: severities of these anomalies.
        limit: use at most this many pictures of each set, spread evenly; None uses all.

    Raises:
        ConfigError: an unknown kind or severity, or a limit below 2.
        DataError: a folder does not have the layout of its set.
    """
    if limit is not None and limit < 2:
        raise ConfigError(f"--limit is {limit}; it must be 2 or larger.")
    folder = open_woodscape(woodscape)
    split = split or split_of(folder.root, folder.sequences, seed=seed)
    fit = folder.only(split.parts["train"])
    control = folder.only((*split.parts["valid"], *split.parts["test"]))
    sets = (("cityscapes", open_cityscapes, cityscapes), ("soiling", open_woodscape_soiling, soiling))
    recorded = [_picture_set(name, opened(root), limit) for name, opened, root in sets if root is not None]
    return Protocol(
        name="larex",
        domain="WoodScape against own anomalies and recorded sets, as in the reference",
        calibration=_picture_set("WoodScape, training sequences", fit, limit),
        control=_picture_set("WoodScape, validation and test sequences", control, limit),
        conditions=make_conditions(kinds, severities),
        recorded=tuple(recorded),
        unit="sequence",
        held_out="sequence",
        facts={
            "woodscape": {part: len(names) for part, names in split.parts.items()},
            "split_seed": split.seed,
            "limit": limit,
            "held_out": "one sequence at a time",
        },
        notes=(
            "If the network was trained on the training pictures, its features are closer there than elsewhere and "
            "thresholds are too low: compare the false alarms on the unseen sequences with the target.",
            "WoodScape does not say which pictures are one drive; blocks of 100 consecutive indices stand in.",
        ),
    )


def _picture_set(name: str, folder: PictureFolder, limit: int | None) -> PictureSet:
    samples: Sequence[Sample] = folder.samples
    if limit is not None and limit < len(samples):
        samples = [samples[index * len(samples) // limit] for index in range(limit)]
    return PictureSet(name, len(samples), lambda: (Picture(sample.sequence, sample.image) for sample in samples))


def _names(paths: Sequence[Path]) -> list[str]:
    """Names of recorded sets: the last part of each path, or the last two parts if the last ones are not unique."""
    parts = [path.resolve().parts for path in paths]
    names = [part[-1] for part in parts]
    if len(set(names)) < len(names):
        names = ["/".join(part[-2:]) for part in parts]
    taken = {"control", "clean", *HARMLESS_CHANGES}
    for name in names:
        if names.count(name) > 1 or name in taken:
            raise ConfigError(f"--ood {name} has a name that another set or condition has; rename its folder.")
    return names
