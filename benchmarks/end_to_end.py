"""End to end over DDS: from the stamp of an image to its alarm, its class picture and the stop, and the highest rate held.

    python benchmarks/end_to_end.py --json end_to_end.json
    python benchmarks/end_to_end.py --cases '1cam-*-raw-10hz' --seconds 20 --set engine=onnx --no-search
    python benchmarks/end_to_end.py --short

Real processes, as on a vehicle: cameras (``camera_source.py``), perception_node, supervisor_node, and an ear
(``arrival_log.py``) that notes arrivals, all under the package's Fast DDS profile. In the manner of isaac_ros_benchmark:
fixed rates first, then, for each set of cameras, the highest rate at which at most 5 % of the images are never judged.
Every case warms up, is measured on clean pictures, then the first camera is spoiled several times for a moment, and each
stop is timed from the stamp of the first spoiled image: by design it takes as many judged frames as the bundle's alarm
asks for. Whatever was lost on the way is a loss, not a delay. Pictures are of the procedural (synthetic) street. All of it
takes about 25 minutes; figures count only on a machine that does nothing else.

``--short`` takes one case of a few seconds, of whose images some are withheld, and looks at no time: every alarm belongs to
an image, none comes out of order, the losses are counted right. Exit 1 when that is not so, in a long run too.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from math import isfinite, nan
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))  # when it is loaded as a module
from arrivals import (
    LOSS_LIMIT,
    Counts,
    Heard,
    Losses,
    Published,
    Search,
    Trial,
    complaints,
    delays_ms,
    episodes,
    highest_rate,
    losses,
    overhead,
    percentiles,
    read_row,
    read_rows,
)
from command_line import exit_code

from ls_ood_monitor.anomalies import ANOMALIES
from ls_ood_monitor.cli.console import STDOUT, progress_bar, require_file_place, warn, write_json
from ls_ood_monitor.errors import ConfigError, DataError
from ls_ood_monitor.machine import describe_machine
from ls_ood_monitor.ros.environment import asked_domain, private_domain, require_rclpy, ros_environment
from ls_ood_monitor.ros.processes import NodeProcess
from ls_ood_monitor.ros.shared_memory import remove_orphaned_segments
from ls_ood_monitor.street import CAMERAS

try:
    import psutil
except ImportError:  # a part of requirements/bench.txt
    psutil = None

SIZES = ((640, 483), (1280, 966))
RATES_HZ = (10.0, 30.0)
TRANSPORTS = ("raw", "jpeg")
#: Clean time and spoiled moments of a case.
SECONDS, STOPS = 10.0, 5
#: Before anything counts: an alarm that the silence before has raised must clear first.
WARM_S = 2.5
#: A spoiled moment, and the clean driving after it in which the alarm clears.
SPOILED_S, RECOVERY_S = 1.5, 2.5
#: Of the short form one image of so many is withheld.
WITHHOLD = 4
#: perception_node starts within this time, network and first pass included.
START_S = 180.0
#: The search tries no higher rate, Hz.
CEILING_HZ = 240.0
#: perception_node tells its counts once a second, and has told all of a plan in the second message after it.
_REST_S = 1.2
#: What does not agree is looked at again for so long.
_SETTLE_S = 10.0


@dataclass(frozen=True)
class Setup:
    """What the nodes are started for; its rates follow one another without a new start."""

    cameras: int
    width: int
    height: int
    transport: str

    @property
    def name(self) -> str:
        """As in ``--cases``."""
        return f"{self.cameras}cam-{self.width}x{self.height}-{self.transport}"


def case_name(setup: Setup, rate_hz: float) -> str:
    """As in ``--cases``."""
    return f"{setup.name}-{rate_hz:g}hz"


def chosen_cases(patterns: Sequence[str]) -> dict[Setup, list[float]]:
    """The rates of each setup of which a pattern fits the case's name; all of them without a pattern.

    Raises:
        ConfigError: no case fits.
    """
    setups = [
        Setup(cameras, *size, transport) for cameras in (1, len(CAMERAS)) for size in SIZES for transport in TRANSPORTS
    ]
    names = {case_name(setup, rate): (setup, rate) for setup in setups for rate in RATES_HZ}
    chosen: dict[Setup, list[float]] = {}
    for name, (setup, rate) in names.items():
        if not patterns or any(fnmatch(name, pattern) for pattern in patterns):
            chosen.setdefault(setup, []).append(rate)
    if not chosen:
        raise ConfigError(f"--cases {' '.join(patterns)} fits none of {', '.join(names)}.")
    return chosen


class Companion:
    """A script of this folder as a process that takes lines and says JSON objects; a context manager.

    Args:
        script: file name.
        arguments: of its command line.
        environment: from ``ros_environment``.
        log: takes its error output.
    """

    def __init__(self, script: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name, self.log = script, log
        self._command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
        self._environment = dict(environment)
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()

    def __enter__(self) -> Companion:
        with self.log.open("wb") as errors:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        for end in (self._process.terminate, self._process.kill):
            try:
                self._process.wait(5.0)
                return
            except subprocess.TimeoutExpired:
                end()
        self._process.wait()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def ask(self, content: Mapping[str, object]) -> None:
        """Hand it a line."""
        if self._process.stdin is None:
            raise RuntimeError(f"{self.name} takes no input.")
        self._process.stdin.write(json.dumps(content) + "\n")
        self._process.stdin.flush()

    def hear(self, timeout_s: float) -> dict[str, Any] | None:
        """The next thing it says, or None when it says nothing in that time."""
        try:
            return self._said.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def check(self) -> None:
        """Raise ``DataError`` with its last line when it has ended."""
        if self._process.poll() is not None:
            raise DataError(f"{self.name} ended with {self._process.returncode}: {last_line(self.log)}")

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            if line.startswith("{"):  # not a library's greeting
                self._said.put(json.loads(line))


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing."


@dataclass
class Run:
    """One plan that was driven: its images, what was heard, and the share of one core that each process took, per cent."""

    images: list[Published]
    heard: Heard
    cpu_percent: dict[str, float] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def phase(self, name: str) -> list[Published]:
        """Images of the phases of this name."""
        return [image for image in self.images if image.phase == name]


class Vehicle:
    """Both nodes, cameras and the ear for one setup; a context manager that leaves nothing behind.

    Args:
        setup: cameras.
        out: folder of logs.
        environment: from ``ros_environment``.
        perception: further parameters of perception_node.
        spoil: what spoils a picture.
        watched: somebody subscribes to every class picture, so that the decoder runs.
    """

    def __init__(
        self,
        setup: Setup,
        out: Path,
        environment: Mapping[str, str],
        perception: Mapping[str, object],
        spoil: str,
        watched: bool = True,
    ) -> None:
        self.setup, self.cameras = setup, list(CAMERAS[: setup.cameras])
        self._out, self._environment = out, environment
        compressed = setup.transport == "jpeg"
        self._parameters = {
            "cameras": self.cameras,
            "autostart": True,
            "transport": "compressed" if compressed else "raw",
            **perception,
        }
        self._source_arguments = [
            *("--width", str(setup.width), "--height", str(setup.height), "--spoil", spoil),
            *(["--compressed"] if compressed else []),
            *("--cameras", *self.cameras),
        ]
        self._watched = self.cameras if watched else []
        self._heard, self._read_to, self._plans = Heard(), 0, 0

    def __enter__(self) -> Vehicle:
        self._out.mkdir(parents=True, exist_ok=True)
        self._arrivals = self._out / "arrivals.jsonl"
        with ExitStack() as stack:
            remap = ("ood_alarm:=/perception_node/ood_alarm",)
            supervisor = {"cameras": self.cameras}
            self._nodes = {
                name: stack.enter_context(
                    NodeProcess(name, parameters, self._environment, self._out / f"{name}.log", remaps)
                )
                for name, parameters, remaps in (
                    ("supervisor_node", supervisor, remap),
                    ("perception_node", self._parameters, ()),
                )
            }
            listening = ["--out", str(self._arrivals), "--cameras", *self._watched]
            self._companions = {
                name: stack.enter_context(
                    Companion(f"{name}.py", arguments, self._environment, self._out / f"{name}.log")
                )
                for name, arguments in (("arrival_log", listening), ("camera_source", self._source_arguments))
            }
            self._await("arrival_log", "ready")
            self._await("camera_source", "subscribed")
            self._stack = stack.pop_all()
        try:
            self._rest(0)  # the first counts
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()
        time.sleep(1.1)  # segments younger than a second are left alone
        remove_orphaned_segments()

    def drive(self, rate_hz: float, phases: Sequence[tuple[str, float, bool]], withhold: int = 0) -> Run:
        """Drive one plan; what is heard of it, until the node is at rest again."""
        self._plans += 1
        log = self._out / f"plan_{self._plans}.jsonl"
        before = dict(self._heard.counts)
        self._heard = Heard()
        self._read_arrivals()
        self._heard.alarms.clear()
        self._heard.segmentations.clear()  # commands before the plan tell whether the vehicle was free to move
        self._companions["camera_source"].ask(
            {"rate_hz": rate_hz, "phases": phases, "withhold": withhold, "log": str(log)}
        )
        meters = Meters({name: one.pid for name, one in {**self._nodes, **self._companions}.items()})
        patience_s = 30.0 + 2.0 * sum(seconds for _, seconds, _ in phases)
        while (said := self._next("camera_source", patience_s))["event"] == "phase":
            meters.at(said["name"])
        self._rest(time.time_ns())
        images = read_rows(log)
        deadline = time.monotonic() + _SETTLE_S
        while found := complaints(images, self._heard, before, dict(self._heard.counts)):
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)  # a machine may be so slow that its last alarm or count is still on the way
            self._read_arrivals()
        return Run(images, self._heard, meters.percent("clean"), found)

    def _rest(self, since_ns: int) -> None:
        """Wait until the node has told counts in which everything sent before ``since_ns`` is dealt with."""
        deadline = time.monotonic() + 30.0
        while True:
            self._check()
            self._read_arrivals()
            counts: dict[str, Counts] = self._heard.counts
            if all(name in counts and counts[name].at_ns > since_ns + _REST_S * 1e9 for name in self.cameras):
                return
            if time.monotonic() > deadline:
                raise DataError(
                    "perception_node told no counts of its cameras on /diagnostics for 30 s; it must be active."
                )
            time.sleep(0.05)

    def _read_arrivals(self) -> None:
        with self._arrivals.open(encoding="utf-8") as file:
            file.seek(self._read_to)
            text = file.read()
        whole = text[: text.rfind("\n") + 1]
        self._read_to += len(whole.encode())
        for line in whole.splitlines():
            self._heard.add(read_row(line))

    def _await(self, companion: str, event: str) -> None:
        while self._next(companion, START_S)["event"] != event:
            pass

    def _next(self, companion: str, timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while (said := self._companions[companion].hear(0.1)) is None:
            self._check()
            if time.monotonic() > deadline:
                raise DataError(
                    f"{companion} waited {timeout_s:.0f} s in vain; perception_node's last line: "
                    f"{last_line(self._nodes['perception_node'].log)}"
                )
        return said

    def _check(self) -> None:
        for name, node in self._nodes.items():
            if node.poll() is not None:
                raise DataError(f"{name} ended with {node.poll()}: {last_line(node.log)}")
        for companion in self._companions.values():
            companion.check()


class Meters:
    """Processor time of processes between the beginnings of phases; nothing without psutil."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._processes = {} if psutil is None else {name: psutil.Process(pid) for name, pid in pids.items()}
        self._marks: list[tuple[str, float, dict[str, float]]] = []

    def at(self, phase: str) -> None:
        """A phase begins now."""
        used = {name: sum(process.cpu_times()[:2]) for name, process in self._processes.items()}
        self._marks.append((phase, time.monotonic(), used))

    def percent(self, phase: str) -> dict[str, float]:
        """Share of one core, per cent, by process, over the first phase of this name."""
        for (name, begin_s, before), (_, end_s, after) in zip(self._marks, self._marks[1:], strict=False):
            if name == phase:
                return {key: 100.0 * (after[key] - before[key]) / (end_s - begin_s) for key in before}
        return {}


def measure(vehicle: Vehicle, rate_hz: float, seconds: float, stops: int) -> dict[str, Any]:
    """One case: its figures and complaints, as they go into the file."""
    spoiled = [("spoiled", SPOILED_S, True), ("recovery", RECOVERY_S, False)] * stops
    run = vehicle.drive(rate_hz, [("warm", WARM_S, False), ("clean", seconds, False), *spoiled])
    clean = run.phase("clean")
    lost = losses(clean, run.heard.alarms)
    found = episodes(run.images, run.heard) if stops else []
    times = [one.stop_ms for one in found if isfinite(one.stop_ms)]
    return {
        "case": case_name(vehicle.setup, rate_hz),
        **asdict(vehicle.setup),
        "rate_hz": rate_hz,
        "seconds": seconds,
        "alarm_ms": percentiles(delays_ms(clean, run.heard.alarms)),
        "segmentation_ms": percentiles(delays_ms(clean, run.heard.segmentations)),
        "loss": {**asdict(lost), "percent": 100.0 * lost.share},
        "stop": {
            "episodes": len(found),
            "not_free_before": sum(not one.was_free for one in found),
            "not_stopped": sum(one.was_free and not isfinite(one.stop_ms) for one in found),
            "median_ms": percentiles(times)["p50"],
            "percentiles_ms": percentiles(times),
            "longest_ms": max(times, default=nan),
            "ms": times,
            "reasons": sorted({one.reason for one in found if one.reason}),
        },
        "cpu_percent": run.cpu_percent,
        "overhead": overhead(clean, run.heard.alarms),
        "source_late_ms": percentiles([image.late_ms for image in run.images]),
        "complaints": run.complaints,
    }


def search(vehicle: Vehicle, seconds: float, told: Callable[[Trial], None], found: list[str]) -> Search:
    """The highest rate at which at most 5 % are lost; complaints of all trials go to ``found``."""

    def attempt(rate_hz: float) -> Trial:
        run = vehicle.drive(rate_hz, [("warm", WARM_S, False), ("clean", seconds, False)])
        found.extend(run.complaints)
        clean = run.phase("clean")
        late_ms = percentiles([image.late_ms for image in clean])["p95"]
        trial = Trial(rate_hz, losses(clean, run.heard.alarms).share, late_ms < 500.0 / rate_hz)
        told(trial)
        return trial

    return highest_rate(attempt, RATES_HZ[0], CEILING_HZ)


def short(out: Path, environment: Mapping[str, str], perception: Mapping[str, object]) -> tuple[list[str], Losses]:
    """One camera for a few seconds, some images withheld: complaints, and what became of the images."""
    with Vehicle(Setup(1, 640, 483, "raw"), out, environment, perception, "fog") as vehicle:
        run = vehicle.drive(
            5.0, [("warm", 1.0, False), ("clean", 4.0, False), ("spoiled", 1.0, True)], withhold=WITHHOLD
        )
    clean = run.phase("clean")
    found, lost = list(run.complaints), losses(clean, run.heard.alarms)
    withheld = sum(not image.sent for image in clean)
    if lost.silent < withheld:
        found.append(f"{withheld} images were withheld, but only {lost.silent} count as lost.")
    if lost.judged + lost.faulted + lost.silent != lost.published:
        found.append(f"the parts of {lost} do not add up.")
    if not lost.judged:
        found.append("no image was judged.")
    return found, lost


def without_nan(content: Any) -> Any:
    """The same with null for what is not known: JSON has no NaN."""
    if isinstance(content, dict):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, list):
        return [without_nan(value) for value in content]
    return None if isinstance(content, float) and not isfinite(content) else content


def _pair(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier() and value):
        raise argparse.ArgumentTypeError(f"--set takes name=value, for example num_threads=1, not {text!r}.")
    return name, yaml.safe_load(value)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not (value > 0.0 and isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0.")
    return value


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number.")
    return int(text)


def _ms(figures: Mapping[str, float], *keys: str) -> str:
    return " / ".join(f"{figures[key]:.0f}" if isfinite(figures[key]) else "-" for key in keys)


def _beside(told: Mapping[str, float]) -> str:
    """The node's own part, and what it is beside."""
    own = f"{told['p50_ms']:.2f} / {told['p95_ms']:.2f} ms, {told['percent']:.1f} %"
    return f"{own}; {told['decode_ms']:.2f} + {told['network_ms']:.1f}"


def case_table(cases: Iterable[Mapping[str, Any]]) -> Table:
    """Fixed rates."""
    cases = list(cases)
    columns = ["case", "alarm p50 / p95 / p99 ms", "class picture", "stop median / longest (n)", "never judged"]
    with_cpu, with_overhead = any(one["cpu_percent"] for one in cases), any(one["overhead"] for one in cases)
    columns += ["perception, supervisor CPU"] if with_cpu else []
    columns += ["beside the network p50 / p95; decode + network ms"] if with_overhead else []
    table = Table(*columns, title="From the image's stamp; CPU in per cent of one core")
    for one in cases:
        stop, cpu, rest = one["stop"], one["cpu_percent"], one["overhead"]
        row = [
            one["case"],
            _ms(one["alarm_ms"], "p50", "p95", "p99"),
            _ms(one["segmentation_ms"], "p50", "p95", "p99"),
            f"{_ms(stop, 'median_ms', 'longest_ms')} ({len(stop['ms'])} of {stop['episodes']})",
            f"{one['loss']['percent']:.1f} %",
        ]
        row += [f"{cpu['perception_node']:.0f} %, {cpu['supervisor_node']:.0f} %" if cpu else "-"] if with_cpu else []
        row += [_beside(rest) if rest else "-"] if with_overhead else []
        table.add_row(*row)
    return table


def rate_table(rates: Mapping[str, Mapping[str, Any]]) -> Table:
    """Highest rates."""
    table = Table(
        "cameras", "images a second, each", "limited by", "trials", title="Highest rate with at most 5 % lost"
    )
    for name, one in rates.items():
        tried = ", ".join(f"{trial['rate_hz']:g}: {100.0 * trial['loss']:.1f} %" for trial in one["trials"])
        table.add_row(name, f"{one['rate_hz']:.1f}" if one["rate_hz"] else "none", one["limited_by"], tried)
    return table


def run_all(
    chosen: Mapping[Setup, Sequence[float]],
    options: argparse.Namespace,
    out: Path,
    environment: Mapping[str, str],
    perception: Mapping[str, object],
    keep: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Every case and search; after each of them ``keep`` is given all that is known."""
    cases: list[dict[str, Any]] = []
    rates: dict[str, dict[str, Any]] = {}
    wrong: list[str] = []
    found = {"cases": cases, "highest_rates": rates, "complaints": wrong}
    steps = sum(map(len, chosen.values())) + (0 if options.no_search else len(chosen))
    done = 0
    with progress_bar("Driving", steps) as update:
        for setup, fixed in chosen.items():
            update(done, setup.name)
            with Vehicle(
                setup, out / setup.name, environment, perception, options.spoil, not options.alarms_only
            ) as vehicle:
                for rate_hz in fixed:
                    update(done, case_name(setup, rate_hz))
                    cases.append(measure(vehicle, rate_hz, options.seconds, options.stops))
                    wrong += [f"{cases[-1]['case']}: {text}" for text in cases[-1]["complaints"]]
                    keep(found)
                    done += 1
                if not options.no_search:
                    tell = lambda trial, setup=setup, done=done: update(  # noqa: E731
                        done, f"{setup.name}, {trial.rate_hz:g} Hz: {100.0 * trial.loss:.1f} % lost"
                    )
                    complained: list[str] = []
                    result = search(vehicle, options.search_seconds, tell, complained)
                    rates[setup.name] = {
                        "rate_hz": result.rate_hz,
                        "limited_by": result.limited_by,
                        "trials": [{**trial._asdict(), "held": trial.held} for trial in result.trials],
                    }
                    wrong += [f"{setup.name}, search: {text}" for text in complained]
                    keep(found)
                    done += 1
            update(done)
    return found


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=[], metavar="PATTERN", help="names such as '4cam-*-jpeg-*'")
    parser.add_argument("--seconds", type=_positive, default=SECONDS, help="clean time of a case (default %(default)s)")
    parser.add_argument("--stops", type=_count, default=STOPS, help="spoiled moments of a case (default %(default)s)")
    parser.add_argument("--spoil", default="fog", help="an anomaly at its strongest, or black (default %(default)s)")
    parser.add_argument(
        "--alarms-only", action="store_true", help="nobody subscribes to a class picture, so that no decoder runs"
    )
    parser.add_argument("--no-search", action="store_true", help="fixed rates only")
    parser.add_argument("--search-seconds", type=_positive, default=6.0, help="of a rate (default %(default)s)")
    parser.add_argument("--bundle", type=Path, help="default: the one in the package")
    parser.add_argument(
        "--set", action="append", type=_pair, default=[], metavar="NAME=VALUE", help="parameter of perception_node"
    )
    parser.add_argument("--short", action="store_true", help="one case of a few seconds that looks at no time")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep the processes' logs there")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return _run(parser.parse_args())


def _run(args: argparse.Namespace) -> int:
    require_rclpy()
    require_file_place("--json", args.json)
    if args.spoil not in (*ANOMALIES, "black") or args.spoil == "identity":
        known = ", ".join(name for name in ANOMALIES if name != "identity")
        raise ConfigError(f"--spoil is {args.spoil!r}; it must be black or one of {known}.")
    if args.bundle is not None and not args.bundle.is_dir():
        raise ConfigError(f"--bundle is {args.bundle}; there is no such folder.")
    if args.short and (
        args.cases or args.alarms_only or args.no_search or args.seconds != SECONDS or args.stops != STOPS
    ):
        raise ConfigError(
            "--short is one case of its own; leave out --cases, --seconds, --stops, --alarms-only and --no-search."
        )
    chosen = chosen_cases(args.cases)
    if psutil is None:
        warn("psutil is not installed, so CPU shares are left out; pip install -r requirements/bench.txt.")
    domain = asked_domain()
    environment = ros_environment(domain if domain is not None else private_domain())
    perception = {**({"bundle_path": str(args.bundle.resolve())} if args.bundle else {}), **dict(args.set)}
    about = {
        "machine": describe_machine(),
        "fast_dds_profile": Path(environment["FASTDDS_DEFAULT_PROFILES_FILE"]).name,
        "bundle": str(args.bundle) if args.bundle else "embedded",
        "parameters": dict(args.set),
        "alarms_only": args.alarms_only,
        "spoil": args.spoil,
        "loss_limit_percent": 100.0 * LOSS_LIMIT,
    }
    console = Console(width=150)
    with tempfile.TemporaryDirectory() as temporary:
        out = args.logs if args.logs is not None else Path(temporary)
        if args.short:
            wrong, lost = short(out, environment, perception)
            report = {**about, "short": asdict(lost), "complaints": wrong}
            console.print(
                f"{lost.published} images: {lost.judged} judged, {lost.faulted} told as faults, {lost.silent} lost"
            )
        else:

            def keep(found: dict[str, Any]) -> None:
                if args.json != STDOUT:  # a file holds what there is, should the next case never end
                    write_json(args.json, without_nan({**about, **found}))

            report = {**about, **run_all(chosen, args, out, environment, perception, keep)}
            wrong = report["complaints"]
            told = about["machine"]
            console.print(f"{told['cpu']}, {told['cores']} cores, torch {told['versions'].get('torch', 'unknown')}")
            console.print(case_table(report["cases"]))
            if report["highest_rates"]:
                console.print(rate_table(report["highest_rates"]))
    write_json(args.json, without_nan(report))
    for text in wrong:
        console.print(f"[bold red]wrong[/]: {text}", highlight=False)
    if not wrong:
        console.print("every alarm belongs to an image, none out of order, losses as the node counts them")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
