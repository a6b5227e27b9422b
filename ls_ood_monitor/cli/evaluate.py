"""ls-ood evaluate: a recording in, a verdict out: is this drive fine, when would it have stopped, and why?"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from ..errors import ConfigError, DataError
from .console import console, progress_lines, reproduce_command, warn, write_json
from .engine_options import add_engine_arguments
from .evaluation_summary import print_failures, print_summary
from .topics import parse_topics
from .worker_options import add_worker_arguments, read_jobs

if TYPE_CHECKING:
    from ..evaluation.acceptance import Acceptance
    from ..evaluation.request import Request, Result
    from ..evaluation.results import Summary
    from ..parameter_file import VehicleSettings
    from ..recordings.events import Event
    from ..recordings.recording import Recording

    #: With its ground truth, and the file that it was read from; None where there is none.
    Opened = tuple[Recording, tuple[Event, ...] | None, Path | None]

DESCRIPTION = """\
Judges every frame of a recording with the checks, network, alarm and supervisor of the vehicle, on the recording's own
clock, and faster than real time where the machine allows. The same recording gives the same figures.

  ls-ood evaluate drive_1 --out report                              alarms, stops, and why
  ls-ood evaluate drive_1 --events drive_1.events.yaml --out report detection and false alarms against ground truth
  ls-ood evaluate drive_* --acceptance limits.yaml --out report     exit 1 if a limit is broken; junit.xml for the build
  ls-ood evaluate drive_* --jobs auto --out report                  several recordings at once
  ls-ood evaluate drive_* --jobs auto --out report --resume         the same, after it was interrupted

A recording is a ROS 2 bag (folder, .mcap, .db3) or a ROS 1 bag (.bag) with raw or compressed images, a video, or a folder
of pictures. Of a damaged bag what can be read is judged. Events are a list of {camera, start_s, end_s, label},
seconds from its start; of several recordings each has its own file beside it, NAME.events.yaml, or events.yaml within its
folder, or beside a folder named bag, where ls-ood synth lays it. Without events every alarm counts as false.

Writes into --out, a folder a recording if there are several, named like it (of one name, with the folder above in front:
d1/bag and d2/bag go into d1_bag and d2_bag): report.html (one file, opens without a network),
summary.json, frames.csv, timeline.png, and with --acceptance junit.xml. Several recordings get a verdict as one, too: their
pooled summary.json, junit.xml and report.html lie in --out itself, and limits an hour are held against their hours together.
A recording that cannot be judged does not keep the others from it; it is named at the end, exit 2, and its junit.xml holds
the error. --json holds the summary; of several by the recordings' names, and the pooled one as "pool".
"""

#: Name of the set in --json, beside those of its recordings.
_POOL = "pool"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    option = parser.add_argument
    option("recordings", nargs="+", type=Path, metavar="RECORDING", help="bag, video or folder of pictures")
    option("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    option("--bundle", type=Path, metavar="DIR", help="bundle to judge by (default: the embedded one)")
    option("--detector", help="detector that raises the alarm (default: the bundle's)")
    option("--device", default="auto", help="auto, cpu, cuda (default %(default)s)")
    add_engine_arguments(parser)
    option("--events", type=Path, metavar="FILE", help="ground truth of a single recording")
    option("--acceptance", type=Path, metavar="FILE", help="YAML of limits, for example max_time_to_stop_s: 1.0")
    option("--gate", type=Path, dest="acceptance", help=argparse.SUPPRESS)  # its former name
    option("--parameters", type=Path, metavar="FILE", help="the nodes' ROS parameter file (default: their defaults)")
    option(
        "--topic", action="append", metavar="TOPIC=CAMERA", help="image topic of a bag and its camera (default: all)"
    )
    option("--rate", type=float, metavar="HZ", help="frame rate of pictures (default 10), or of a video (its own)")
    option(
        "--stop-within", type=float, default=1.0, metavar="S", help="STOP is due so soon after an event begins (1.0)"
    )
    option(
        "--release-within", type=float, default=3.0, metavar="S", help="STOP is no fault so long after an event (3.0)"
    )
    option("--resume-within", type=float, dest="release_within", default=3.0, help=argparse.SUPPRESS)
    add_worker_arguments(
        parser,
        "recordings",
        "the recordings, the bundle and --out",
        "go on after an interruption: do not repeat what was finished with the same files and options",
    )


def run(args: argparse.Namespace) -> int:
    """Judge every recording, each into its folder, and print the verdict."""
    from ..evaluation.acceptance import read_acceptance, require_known_names
    from ..evaluation.evaluate import JUNIT, SUMMARY
    from ..evaluation.junit import junit_suite, write_junit
    from ..evaluation.pool import pool
    from ..evaluation.pool_files import remove_pool, write_pool
    from ..evaluation.results import to_plain
    from ..parameter_file import VehicleSettings, read_parameters
    from ..recordings.recording import distinct_names, open_recording

    _require_options(args)
    jobs, topics = read_jobs(args), parse_topics(args.topic)
    names = distinct_names(args.recordings)
    is_set = len(names) > 1
    if args.json and is_set and _POOL in names:
        raise ConfigError(f"--json names the recordings and the {_POOL} of them, but one is named so; rename it.")
    outs = {name: args.out / name if is_set else args.out for name in names}
    if not args.resume:  # with it, the verdict of what is finished holds
        for out in {*outs.values(), args.out}:
            (out / JUNIT).unlink(missing_ok=True)
    _require_inputs(args)
    acceptance = read_acceptance(args.acceptance) if args.acceptance else None
    vehicle = read_parameters(args.parameters) if args.parameters else VehicleSettings()
    if args.scheduler:
        from ..workers.cluster import require_cluster

        require_cluster(args.scheduler)
    # What is wrong for all is said before the recordings are opened, which may take long.
    bundle_id = _bundle_id(args)
    opened: list[Opened] = []
    failed: dict[str, str] = {}
    for name, path in zip(names, args.recordings, strict=True):
        try:
            recording = open_recording(path, topics, args.rate, name, vehicle.decoding)
            place = _events_file(recording, args.events)
            events = None if place is None else _events_of(recording, place)
            opened.append((recording, events, place))
            for note in _notes(args, recording, place):
                warn(f"{name}: {note}")
        except DataError as error:
            failed[name] = str(error)
            if is_set:
                warn(f"{error} The other recordings are judged.")
    if acceptance is not None and not failed:  # a failed one may hold what the others do not
        labels = {event.label for _, events, _ in opened for event in events or ()}
        require_known_names(acceptance, labels, {camera for recording, *_ in opened for camera in recording.cameras})
    requests = _requests(args, opened, outs, bundle_id, acceptance, vehicle)
    if is_set:
        remove_pool(args.out)
    results = {result.name: result for result in _results(args, requests, jobs)}
    summaries: dict[str, Summary] = {}
    for request in requests:
        result = results[request.name]
        for note in result.notes:
            warn(f"{result.name}: {note}")
        if result.summary is None:
            failed[result.name] = result.error
            continue
        summaries[result.name] = result.summary
        print_summary(result.summary, outs[result.name])
    broken = [name for name, summary in summaries.items() if summary.acceptance.passed is False]
    if is_set:
        pooled = pool(names, summaries, failed, acceptance)
        write_pool(args.out, pooled, reproduce_command(["ls-ood", *args.arguments]), acceptance is not None)
        if summaries:
            print_summary(pooled, args.out)
        if pooled.acceptance.broken:
            broken.append("the rules of all together")
        write_json(args.json, to_plain({**summaries, _POOL: pooled}))
    else:
        write_json(args.json, to_plain(next(iter(summaries.values()), {})))
    if acceptance is not None and summaries:
        if broken:
            console.print(f"[bold red]ACCEPTANCE BROKEN[/] by {escape(', '.join(broken))}", soft_wrap=True)
        elif failed:
            console.print("[bold red]ACCEPTANCE NOT DECIDED[/]: not every recording could be judged", soft_wrap=True)
        else:
            console.print("[bold green]ACCEPTANCE PASSED[/]")
    if failed:
        for name, sentence in failed.items():
            (outs[name] / JUNIT).unlink(missing_ok=True)
            if acceptance is not None:  # the verdict of a recording that failed, in place of a former one
                outs[name].mkdir(parents=True, exist_ok=True)
                write_junit(outs[name] / JUNIT, junit_suite(name, [], sentence))
            if (outs[name] / SUMMARY).exists():
                warn(f"{outs[name]} still holds the result of an earlier run, not of this one.")
        print_failures(failed, results.values(), len(args.recordings))
        return 2
    return 1 if broken else 0


def _require_options(args: argparse.Namespace) -> None:
    """Refuse what is wrong with the options by themselves, and with the place to write."""
    from ..disk_space import check_output_folder
    from ..recordings.recording import is_result

    if args.events and len(args.recordings) > 1:
        raise ConfigError("--events is for a single recording; lay NAME.events.yaml beside each of several.")
    for name in ("stop_within", "release_within"):
        if not 0.0 <= getattr(args, name) <= 3600.0:
            raise ConfigError(f"--{name.replace('_', '-')} is {getattr(args, name)}; it must lie within [0, 3600] s.")
    out = args.out.resolve()
    for path in filter(Path.is_dir, args.recordings):
        if path.resolve() == out and is_result(path):
            raise ConfigError(f"{path} is where --out writes, and holds former results, no recording; leave it out.")
        if path.resolve() in (out, *out.parents):
            raise ConfigError(f"--out is {args.out}, within the recording {path}; write the results beside it.")
    if args.out.exists() and not args.out.is_dir():
        raise ConfigError(f"--out is {args.out}, which is a file; name a folder.")
    check_output_folder("--out", args.out)
    if args.rate is not None and not 0.0 < args.rate < float("inf"):
        raise ConfigError(f"--rate is {args.rate}; it must be larger than 0.")


def _bundle_id(args: argparse.Namespace) -> str:
    """Identity of the bundle, loaded here to refuse what the evaluation would refuse.

    The workers of a cluster have their own devices, so for them the bundle is only read here.
    """
    from ..bundle import load_bundle

    engine = {} if args.scheduler else {"engine": args.engine, "precision": args.precision}
    device = "cpu" if args.scheduler else args.device
    return load_bundle(args.bundle, device=device, detector=args.detector, **engine).bundle_id


def _require_inputs(args: argparse.Namespace) -> None:
    """Refuse a file that is not there, and an option that no recording takes; of a mixed set each takes its own."""
    from ..recordings.drive_source import is_bag

    for option in ("events", "acceptance", "parameters"):
        path = getattr(args, option)
        if path is not None and not path.exists():
            raise ConfigError(f"there is no {option} file {path}, which --{option} names.")
    bags = [is_bag(path) for path in args.recordings if path.exists()]  # opening the others says so
    if args.rate is not None and bags and all(bags):
        raise ConfigError(
            f"--rate is for pictures and videos, but {args.recordings[0]} is a bag, which has times of its own; leave it out."
        )
    if args.topic and bags and not any(bags):
        raise ConfigError(f"--topic is for bags, but {args.recordings[0]} is none; leave it out.")


def _events_of(recording: Recording, place: Path) -> tuple[Event, ...]:
    from math import inf

    from ..recordings.events import read_events

    # Events may lie in the part that is lost; a video need not tell its length.
    length_s = inf if recording.damage or not recording.images else recording.duration_s
    return read_events(place, recording.cameras, length_s)


def _notes(args: argparse.Namespace, recording: Recording, place: Path | None) -> list[str]:
    """What was taken for granted, a sentence each."""
    from ..evaluation.evidence_clip import read_clip

    notes = list(recording.notes)
    if place is None and len(args.recordings) > 1:
        notes.append(
            "it has no events, so every alarm counts as false; a file that holds [] says that nothing happens."
        )
    if place is not None and args.events is None:
        notes.append(f"judged by the events of {place}, which lies beside it.")
    if rate_hz := recording.assumed_rate_hz:
        notes.append(f"pictures carry no time, and count as taken at {rate_hz:g} Hz; --rate says another.")
    if args.parameters is None and read_clip(recording.path) is not None:
        notes.append(
            "a clip, judged by default settings; those of its vehicle are in its parameters.yaml (--parameters)."
        )
    return notes


def _events_file(recording: Recording, given: Path | None) -> Path | None:
    """Where the ground truth of a recording lies."""
    if given:
        return given.absolute()
    places = [recording.path.with_name(f"{recording.path.name}.events.yaml")]
    if recording.path.is_dir():
        places.append(recording.path / "events.yaml")
        if recording.path.name == "bag":  # as ls-ood synth lays them
            places.append(recording.path.with_name("events.yaml"))
    return next((place for place in places if place.is_file()), None)


def _requests(
    args: argparse.Namespace,
    opened: Sequence[Opened],
    outs: Mapping[str, Path],
    bundle_id: str,
    acceptance: Acceptance | None,
    vehicle: VehicleSettings,
) -> list[Request]:
    """One for each recording; the folders are made."""
    import uuid

    from ..evaluation.evaluate import JUNIT, finished
    from ..evaluation.request import Request
    from ..evaluation.timespans import Limits

    run = uuid.uuid4().hex
    requests = []
    for recording, events, place in opened:
        out = outs[recording.name]
        out.mkdir(parents=True, exist_ok=True)
        request = Request(
            recording=recording,
            events=events,
            bundle=args.bundle and args.bundle.absolute(),
            bundle_id=bundle_id,
            **{name: getattr(args, name) for name in ("detector", "device", "engine", "precision", "resume")},
            vehicle=vehicle,
            acceptance=acceptance,
            limits=Limits(args.stop_within, args.release_within),
            out=out.absolute(),
            command=reproduce_command(["ls-ood", *args.arguments]),
            run=run,
            events_file=place,
            of_set=len(outs) > 1,
        )
        if args.resume and not finished(request):
            (out / JUNIT).unlink(missing_ok=True)
        requests.append(request)
    return requests


def _results(args: argparse.Namespace, requests: Sequence[Request], jobs: int) -> Iterator[Result]:
    """Results, with a line for each recording while they are made."""
    from ..evaluation.cluster import evaluate_on_cluster
    from ..evaluation.processes import evaluate_here

    if not requests:
        return
    with progress_lines({request.name: request.recording.images or None for request in requests}) as update:
        try:
            results = (
                evaluate_on_cluster(requests, args.scheduler, update)
                if args.scheduler
                else evaluate_here(requests, jobs, update)
            )
            for result in results:
                if result.summary is not None:
                    update(result.name, result.summary.frames, "done", is_last=True)
                yield result
        except KeyboardInterrupt:
            warn("interrupted; the same command with --resume goes on from here.")
            raise
