"""ls-ood calibrate: from clean data to a bundle with thresholds and their provenance."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .engine_options import add_engine_arguments
from .worker_options import add_worker_arguments, read_jobs

if TYPE_CHECKING:
    from ..calibration.clean_reading import FaultCounts
    from ..calibration.feature_table import FeatureTable
    from ..recordings.drive_source import DriveSource

DESCRIPTION = """\
Fits the OoD detectors of a bundle to clean data and sets their thresholds for a target of false alarms. The network is
not changed.

  ls-ood calibrate monday/bag tuesday/bag --out my_bundle                    (two drives, 20 false alarms an hour)
  ls-ood calibrate monday/bag tuesday/bag --out my_bundle --target-per-hour 2
  ls-ood calibrate pictures/ --rate 30 --out my_bundle --detectors multistage,larem
  ls-ood calibrate --dataset woodscape --datapath WoodScape --out my_bundle
  ls-ood calibrate --update my_bundle wednesday/bag --out better_bundle      (adds a drive; the old data are not needed)

Clean data are bags (ROS 2 sqlite3 or mcap, ROS 1), folders of pictures, videos, or a data set. A bag or a video is one
drive. In a folder each sub-folder with pictures is a drive, in a data set each sequence.

Neighbouring frames are nearly equal. So the scores behind a threshold come from detectors that have not seen the frame's
block of time (--hold-out block), or its whole drive (--hold-out drive). Held-out blocks show how a detector does later on
the same drive, held-out drives how it does on the next drive; worst takes the larger threshold. A target per hour is a
promise about the next drive, so drives are held out if there are several. If two drives are very unlike, a detector that
has not seen one of them knows too little: its threshold is far too high, and the tables show that it sees little. Then record
a third drive, or give --hold-out block. The table shows the false alarms at the chosen threshold for both, with 95 %
intervals by whole blocks and drives.

A target per hour sets two thresholds. Frames in a row above the higher one raise a sudden alarm within a fraction of a
second; a median score over seconds above the lower one raises a lasting alarm. Both together keep the target, over all
cameras; alarms less than 5 s apart count as one. A target needs about 3 / target hours of clean driving: T hours without
an alarm support a claim of at most 3 / T alarms per hour (rule of three). Pictures without time, and drives that are too
short, get a share of frames as the target.

After the thresholds, clips of the clean drives are disturbed: a table shows which anomalies the monitor sees on this camera,
how soon, and which harmless changes alarm.

Images that fail the vehicle's own checks (black, saturated, frozen, unreadable, late, ...) are left out and counted; a
drive of which more than 5 % fail is refused (--max-faulty). Hours of driving need no more memory than minutes: detectors are
fitted to a sample of at most 4 000 frames, spread evenly over all drives, and the drives are read a second time to score the
other frames. --jobs and --scheduler spread the drives over processes and machines; the figures do not depend on that. After
an interruption the same command with --resume reads only the drives that are left; until then what is finished is kept in
DIR.unfinished, beside --out.

The bundle's folder also gets calibration.png, and calibration.safetensors for --update; a vehicle does not need that file.
It holds at most 1 KB a frame (or the features of 50 frames, 1.6 MB): time, camera, drive and held-out scores of every frame,
and the features of a few frames, spread evenly. --update fits to these few and to the new drives; the other old frames count
with the scores that they have. --table all keeps the features of the whole sample, --table none keeps no table.
"""

_DATA_SETS = ("woodscape", "woodscape-soiling", "cityscapes", "images", "street")
_DEFAULT_BLOCK_S, _DEFAULT_RATE, _DEFAULT_MAX_FAULTY = 10.0, 0.01, 0.05
_DEFAULT_PER_HOUR = 20.0
_MAX_LISTED = 4
_STREET_DRIVES, _STREET_CHECK_DRIVES = 60, 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("data", nargs="*", type=Path, metavar="DATA", help="clean bags, folders of pictures, or videos")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="bundle folder to write")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--bundle", type=Path, metavar="DIR", help="bundle to start from (default: the embedded one)")
    start.add_argument(
        "--update",
        type=Path,
        metavar="DIR",
        help="bundle to add the drives to: fits again on its clean frames and the new ones; options that are not given "
        "keep the settings of this bundle",
    )

    data = parser.add_argument_group("clean data")
    data.add_argument("--dataset", choices=_DATA_SETS, help="a data set, instead of DATA or in addition to it")
    data.add_argument("--datapath", type=Path, metavar="DIR", help="root of the data set (not for street)")
    data.add_argument(
        "--drives",
        type=int,
        metavar="N",
        help=f"number of drives of the synthetic street, for --dataset street (default {_STREET_DRIVES}); with --target-per-hour "
        "each is a video of 24 s",
    )
    data.add_argument(
        "--topic",
        action="append",
        metavar="TOPIC=CAMERA",
        help="image topic and camera name; repeatable (default: every image topic)",
    )
    data.add_argument("--start", type=float, metavar="S", help="seconds from the start of each of DATA")
    data.add_argument("--end", type=float, metavar="S", help="seconds from the start of each of DATA")
    data.add_argument(
        "--leave-out",
        action="append",
        metavar="DRIVE=BEGIN:END",
        help="part of a drive that is not clean, seconds from its first image; repeatable. The notes of a calibration list the "
        "moments to look at",
    )
    data.add_argument(
        "--rate",
        type=float,
        metavar="HZ",
        help="frame rate of pictures, which carry no time (default 10; the bundle records that it was assumed)",
    )
    data.add_argument(
        "--image-bits",
        type=int,
        default=0,
        metavar="BITS",
        help="significant bits of images with 16 bits a value in bags, as perception's image_bits (default: by the largest "
        "value seen)",
    )
    data.add_argument(
        "--accept-jpeg-warnings",
        action="store_true",
        help="take JPEGs in bags with damage that libjpeg only warns of, as perception's accept_jpeg_warnings",
    )
    data.add_argument(
        "--max-faulty",
        type=float,
        metavar="SHARE",
        help="largest share of a drive's images that may fail the vehicle's checks; they are left out (default "
        f"{_DEFAULT_MAX_FAULTY:g})",
    )
    data.add_argument(
        "--check",
        action="append",
        type=Path,
        metavar="DATA",
        help="further clean drive, on which false alarms are only counted; repeatable "
        f"(--dataset street: {_STREET_CHECK_DRIVES} unseen drives)",
    )

    goal = parser.add_argument_group("target")
    target = goal.add_mutually_exclusive_group()
    target.add_argument(
        "--target-rate",
        type=float,
        metavar="SHARE",
        help=f"accepted share of clean frames above the threshold (default {_DEFAULT_RATE:g}, for data without time or too "
        "short for a target an hour)",
    )
    target.add_argument(
        "--target-per-hour",
        type=float,
        metavar="ALARMS",
        help=f"accepted false alarms per hour of driving (default {_DEFAULT_PER_HOUR:g} from 9 minutes of driving on)",
    )
    goal.add_argument(
        "--trigger", type=int, metavar="FRAMES", help="frames in a row that raise a sudden alarm (default 3)"
    )
    goal.add_argument("--release", type=int, metavar="FRAMES", help="frames in a row that clear it (default 5)")
    goal.add_argument(
        "--lasting-window",
        type=float,
        metavar="S",
        help="window of the median score that raises a lasting alarm, seconds (default 5)",
    )
    goal.add_argument(
        "--hold-out",
        choices=("block", "drive", "worst"),
        help="what is held out of the fits (default: drives for a target per hour, if there are several; else blocks)",
    )
    goal.add_argument(
        "--block", type=float, metavar="S", help=f"length of a block, seconds (default {_DEFAULT_BLOCK_S:g})"
    )
    goal.add_argument(
        "--allow-small",
        action="store_true",
        help="accept data that cannot support the target; the bundle carries a warning",
    )

    result = parser.add_argument_group("result")
    result.add_argument(
        "--sensitivity-minutes",
        type=float,
        metavar="MIN",
        help="time to disturb clean clips and measure what is detected, and how soon (default: as long as the reading takes, "
        "at most 1.5; 0 = not measured)",
    )
    result.add_argument("--detectors", metavar="A,B,C", help="detectors to fit (default: those of the bundle)")
    result.add_argument("--detector", help="detector that raises the alarm (default: as in the bundle)")
    result.add_argument(
        "--plot", type=Path, metavar="FILE", help="plot of the calibration (default: calibration.png in --out)"
    )
    table = result.add_mutually_exclusive_group()
    table.add_argument(
        "--table",
        choices=("thin", "all", "none"),
        help="what calibration.safetensors keeps for --update: the features of a few frames (thin, the default, at most 1 KB a "
        "frame), of the whole sample (all, 32 KB a frame), or no such file (none)",
    )
    table.add_argument(
        "--no-table", action="store_const", const="none", dest="table", help="the same as --table none, its former name"
    )
    result.add_argument("--device", default="auto", help="auto, cpu, cuda (default %(default)s)")
    add_engine_arguments(result)
    add_worker_arguments(
        parser.add_argument_group("work"),
        "drives",
        "the recordings, the bundle and --out",
        "go on after an interruption: do not read again the drives that were finished with the same files and options",
    )


def run(args: argparse.Namespace) -> int:
    """Read the data, fit, set thresholds, write the bundle, print the table."""
    from dataclasses import replace

    from ..bundle import verify_bundle
    from ..calibration.calibrated_bundle import write_calibrated_bundle
    from ..calibration.drive_runner import DriveRunner
    from ..calibration.network import BundleNetwork
    from ..calibration.plot import draw_calibration
    from ..calibration.work_folder import WorkFolder, work_folder_of
    from ..config import from_mapping
    from ..core.detectors import detector_spec, refuse_old_name, required_features
    from ..disk_space import check_output_folder
    from ..errors import ConfigError, MonitorError
    from ..frame_pass import LatentSettings
    from ..networks.deeplab_pass import DeepLabPass
    from .bundle_report import calibration_report
    from .console import PICTURES, console, progress_bar, require_file_place, warn, write_json

    base = args.update or args.bundle
    if base is not None and args.out.resolve() == base.resolve():
        option = "--update" if args.update else "--bundle"
        raise ConfigError(f"--out and {option} are both {args.out}; write the new bundle beside the old one.")
    if args.out.exists() and not args.out.is_dir():
        raise ConfigError(f"--out {args.out} is a file; name a folder.")
    check_output_folder("--out", args.out)
    require_file_place("--plot", args.plot, PICTURES)
    if args.sensitivity_minutes is not None and not args.sensitivity_minutes >= 0.0:
        raise ConfigError(f"--sensitivity-minutes is {args.sensitivity_minutes}; it must be 0 or larger.")
    jobs = read_jobs(args)
    drives, check = _drives(args)
    for note in _drive_notes(args, [*drives, *check]):
        warn(note)
    manifest = verify_bundle(base)
    content = manifest.content
    before = content["provenance"].get("calibration", {})
    settings = _settings(args, before if args.update else {})
    fitted_before = content["thresholds"] or content["provenance"].get("adopted", {}).get("detectors", ())
    given = [part.strip() for part in args.detectors.split(",")] if args.detectors else fitted_before
    names = tuple(dict.fromkeys(given))
    for name in names:
        if detector_spec(name).supervised:
            raise ConfigError(
                f"detector {name} learns from OoD frames, too; it cannot be calibrated on clean data alone."
            )
    if settings.hold_out == "drive" and len(drives) < 2 and not args.update:
        raise ConfigError("there is one drive; at least 2 are needed to hold one out. Add a drive, or hold out blocks.")
    features = required_features(names)
    detector = args.detector or str(content["detector"])
    refuse_old_name(detector)
    if detector not in names:
        raise ConfigError(
            f"the detector that raises the alarm is {detector!r}; it must be one of those calibrated, {', '.join(names)}: "
            "choose it with --detector."
        )
    earlier = _earlier(args.update, names) if args.update else None
    if args.scheduler:
        from ..workers.cluster import require_cluster

        require_cluster(args.scheduler)
    network = BundleNetwork(
        base and base.absolute(), manifest.bundle_id, args.device, args.engine, args.precision, features
    )
    # The workers of a cluster have their own devices.
    here = replace(network, device="cpu", engine="auto", precision="fp32") if args.scheduler else network
    opened = here.opened()
    opened.frame_pass.require_detectors(names)
    frame_pass = here.open()
    before_pass = opened.frame_pass
    if isinstance(before_pass, DeepLabPass) and before_pass.graphs and features != before_pass.features:
        warn(f"the ONNX graphs of the bundle are of other detectors; run 'ls-ood bundle export {args.out}' afterwards.")
    work = WorkFolder(work_folder_of(args.out.absolute()), args.resume)
    if work.has_results and not args.resume:
        warn(f"{work.path} of an interrupted calibration is replaced; with --resume it would be used.")
    try:
        with work:
            result = write_calibrated_bundle(
                args.out.absolute(),
                frame_pass,
                from_mapping(LatentSettings, content["latents"]),
                opened.class_names,
                drives,
                settings,
                detector=detector,
                names=names,
                provenance=content["provenance"],
                progress=progress_bar,
                check=check,
                earlier=earlier,
                facts={
                    "start_s": args.start,
                    "end_s": args.end,
                    "cut_out": args.leave_out or [],
                    "from_bundle": manifest.bundle_id,
                    "engine": f"{frame_pass.engine.name} {frame_pass.engine.precision}",
                    "added_to_earlier": [drive.name for drive in drives] if args.update else [],
                },
                table_kind=args.table or "thin",
                sensitivity_s=None if args.sensitivity_minutes is None else 60.0 * args.sensitivity_minutes,
                runner=DriveRunner(jobs, args.scheduler or "", work),
                network=network,
            )
    except (KeyboardInterrupt, MonitorError):
        if work.has_results:
            warn(f"the drives that were finished are kept in {work.path}; the same command with --resume goes on.")
        raise
    for note in (*_fault_notes(result.counts), *_lost_notes(args, drives, result.counts)):
        warn(note)
    plot = args.plot or args.out / "calibration.png"
    unseen = result.provenance.get("check_on_unseen_drives")
    draw_calibration(
        result.fitted,
        result.table,
        plot,
        check=unseen,
        sensitivity=result.provenance["calibration"].get("sensitivity"),
        title=f"Calibration of bundle {result.bundle_id[:12]}",
    )
    thresholds = {name: item.threshold.to_dict() for name, item in result.fitted.items()}
    write_json(
        args.json,
        {
            "bundle": {"sha256": result.bundle_id},
            "detector": detector,
            "thresholds": thresholds,
            "calibration": result.provenance["calibration"],
            "check_on_unseen_drives": unseen,
            "left_out": {name: counts.left_out for name, counts in result.counts.items() if counts.total},
        },
    )
    for item in calibration_report(detector, thresholds, result.provenance):
        console.print(item, highlight=False)
    size = ""
    if result.table_bytes:
        kept = f"the features of {result.table_features} of {len(result.table)} frames"
        size = f", {result.table_bytes / 1e6:.1f} MB of it the table for --update with {kept}"
    console.print(f"Bundle {result.bundle_id[:12]} written to {args.out}{size}; picture: {plot}", highlight=False)
    return 0


def _earlier(folder: Path, names: Sequence[str]) -> FeatureTable:
    """The clean frames of a bundle, with the features of these detectors; says what they lack."""
    from ..bundle import read_calibration
    from ..calibration.feature_table import FeatureTable
    from ..calibration.table_file import unpack_table
    from ..core.detectors import detector_spec, required_features
    from ..errors import ConfigError
    from ..features import FrameFeatures
    from .console import warn

    stored = unpack_table(read_calibration(folder))
    lacks_some = len(stored.sampled) < len(stored)
    for name in names:
        if detector_spec(name).feature not in stored.features.rows:
            raise ConfigError(
                f"detector {name} reads {detector_spec(name).feature}, which the table of {folder} lacks; "
                "calibrate again from all drives."
            )
        if lacks_some and name not in stored.scores:
            raise ConfigError(
                f"the table of {folder} has the features of {len(stored.sampled)} of its {len(stored)} frames, and no scores "
                f"of detector {name} for the others; calibrate again from all drives."
            )
    if lacks_some:
        frames = stored.drives.counts()
        kept = stored.drives[stored.sampled].counts()
        listing = ", ".join(
            f"{name} {kept.get(name, 0)} of {count}" for name, count in list(frames.items())[:_MAX_LISTED]
        )
        more = f" and {len(frames) - _MAX_LISTED} more drives" if len(frames) > _MAX_LISTED else ""
        warn(
            f"few frames of {folder} have kept their features ({listing}{more}); the others count with the held-out scores "
            "that they had. Calibrate with --table all to keep the features of the whole sample."
        )
    rows = FrameFeatures({name: stored.features.rows[name] for name in required_features(names)})
    return FeatureTable(
        rows, stored.stamps_ns, stored.cameras, stored.drives, stored.assumed_rates_hz, stored.sample, stored.scores
    )


def _fault_notes(counts: Mapping[str, FaultCounts]) -> Iterator[str]:
    """What was left out of the drives, a sentence each."""
    from ..calibration.clean_reading import fault_note

    notes = [note for note in (fault_note(name, own) for name, own in counts.items()) if note]
    yield from notes[:_MAX_LISTED]
    if len(notes) > _MAX_LISTED:
        left_out = sum(own.total for own in counts.values())
        yield f"{len(notes) - _MAX_LISTED} more drives have images that are left out, {left_out} images in all (--json)."


def _drive_notes(args: argparse.Namespace, drives: Sequence[DriveSource]) -> Iterator[str]:
    """What opening the drives shows, a sentence each."""
    from ..recordings.drive_source import drive_notes
    from .topics import parse_topics

    topics = parse_topics(args.topic)
    notes = [note for drive in drives for note in drive_notes(drive, topics)]
    yield from notes[:_MAX_LISTED]
    if len(notes) > _MAX_LISTED:
        yield f"there are {len(notes) - _MAX_LISTED} more notes on the drives; 'ls-ood inspect' shows all."


def _lost_notes(
    args: argparse.Namespace, drives: Sequence[DriveSource], counts: Mapping[str, FaultCounts]
) -> Iterator[str]:
    """Images that whole bags promise and that were not read, a sentence each."""
    from ..recordings.drive_source import drive_notes
    from .topics import parse_topics

    if args.start is None and args.end is None and not args.leave_out:
        for drive in drives:
            yield from drive_notes(drive, parse_topics(args.topic), sum(counts[drive.name].images.values()))


def _drives(args: argparse.Namespace) -> tuple[list[Any], list[Any]]:
    """Return the drives to calibrate on, and the drives to check on."""
    from ..config import DecodingSettings
    from ..errors import ConfigError
    from ..recordings.drive_source import dataset_drives, distinct, open_drives
    from ..street.drive_sources import street_drives, street_videos
    from ..street.shots import CALIBRATION_DRIVES, TEST_DRIVES
    from .topics import parse_topics

    decoding = DecodingSettings(args.image_bits, args.accept_jpeg_warnings)
    options = {"topics": parse_topics(args.topic), "rate_hz": args.rate, "decoding": decoding}
    # The workers of a cluster have other working folders.
    data, further = (
        [path.absolute() for path in paths] if args.scheduler else paths for paths in (args.data, args.check or [])
    )
    drives = open_drives(data, start_s=args.start, end_s=args.end, **options)
    check = open_drives(further, **options)
    if args.drives is not None and args.dataset != "street":
        raise ConfigError("--drives counts drives of the procedural street; give --dataset street with it.")
    if args.dataset == "street":
        if args.datapath is not None:
            raise ConfigError("--datapath is for data sets on disk; the street is rendered.")
        count = _STREET_DRIVES if args.drives is None else args.drives
        if not 1 <= count <= len(CALIBRATION_DRIVES):
            raise ConfigError(f"--drives is {count}; it must lie within [1, {len(CALIBRATION_DRIVES)}].")
        make = street_drives if args.target_per_hour is None else street_videos
        drives += make(CALIBRATION_DRIVES[:count])
        check = check or street_drives(TEST_DRIVES[:_STREET_CHECK_DRIVES])
    elif args.dataset is not None:
        if args.datapath is None:
            raise ConfigError(f"--dataset {args.dataset} needs its root folder; give --datapath DIR.")
        drives += dataset_drives(args.dataset, args.datapath, rate_hz=args.rate)
    elif args.datapath is not None:
        raise ConfigError("--datapath needs the name of the data set; give --dataset.")
    if not drives:
        raise ConfigError(
            "there is nothing to calibrate on; give clean bags, folders of pictures, videos or --dataset."
        )
    return without_parts(distinct(drives), args.leave_out or []), distinct(check)


def without_parts(drives: list[DriveSource], parts: Sequence[str]) -> list[DriveSource]:
    """The drives without parts, each given as DRIVE=BEGIN:END."""
    from ..errors import ConfigError
    from ..recordings.drive_source import without_spans

    spans: dict[str, list[tuple[float, float]]] = {}
    for part in parts:
        name, _, span = part.rpartition("=")
        try:
            begin_s, end_s = (float(value) for value in span.split(":"))
        except ValueError:
            begin_s = end_s = float("nan")
        if not 0.0 <= begin_s < end_s:
            raise ConfigError(
                f"--leave-out {part} is not DRIVE=BEGIN:END with 0 <= BEGIN < END in seconds, like monday/bag=12:20."
            )
        if name not in {drive.name for drive in drives}:
            raise ConfigError(
                f"--leave-out names drive {name!r}; the drives are {', '.join(drive.name for drive in drives[:_MAX_LISTED])}"
                f"{', ...' if len(drives) > _MAX_LISTED else ''}."
            )
        spans.setdefault(name, []).append((begin_s, end_s))
    return [without_spans(drive, spans[drive.name]) if drive.name in spans else drive for drive in drives]


def _settings(args: argparse.Namespace, before: dict[str, Any]) -> Any:
    """Take each setting from the options, else from the bundle that is updated, else the default."""
    from ..bundle_upgrade import upgrade_alarm
    from ..calibration.settings import CalibrationSettings
    from ..config import AlarmSettings, from_mapping

    target = before.get("target", {})
    if args.target_rate is not None:
        target = {"rate": args.target_rate}
    elif args.target_per_hour is not None:
        target = {"per_hour": args.target_per_hour}
    alarm = upgrade_alarm(before.get("alarm", {}))
    given = {
        "trigger_consecutive_frames": args.trigger,
        "release_consecutive_frames": args.release,
        "lasting_window_s": args.lasting_window,
    }
    alarm |= {name: value for name, value in given.items() if value is not None}
    return CalibrationSettings(
        target_rate=target.get("rate", _DEFAULT_RATE),
        target_per_hour=target.get("per_hour"),
        per_hour_if_supported=None if target else _DEFAULT_PER_HOUR,
        hold_out=args.hold_out or (before.get("hold_out") if len(before.get("drives", ())) > 1 else None),
        block_s=before.get("block_s", _DEFAULT_BLOCK_S) if args.block is None else args.block,
        alarm=from_mapping(AlarmSettings, alarm),
        allow_small=args.allow_small,
        max_faulty=before.get("max_faulty", _DEFAULT_MAX_FAULTY) if args.max_faulty is None else args.max_faulty,
    )
