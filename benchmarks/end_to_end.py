"""End to end over DDS: from an image's stamp to its alarm, its segmentation and the stop, and the highest rate held.

    python benchmarks/end_to_end.py --json end_to_end.json
    python benchmarks/end_to_end.py --cases '1cam-*-raw-10hz' --seconds 20 --set engine=onnx --no-search
    python benchmarks/end_to_end.py --short

Real processes, as on a vehicle: cameras (``camera_source.py``), perception_node, supervisor_node, and a listener
(``arrival_log.py``), all under the package's Fast DDS profile. In the manner of isaac_ros_benchmark it runs fixed rates
first, and then searches, for each set of cameras, the highest rate at which at most 5 % of the images are never judged.
Every case warms up and is measured on clean pictures. Then the first camera is spoiled several times, and each stop is timed
from the stamp of the first spoiled image: by design it takes as many judged frames as the bundle's alarm rule needs. An
image lost on the way counts as a loss, not as a delay. Pictures are of the procedural (synthetic) street. Everything takes
about 25 minutes; figures count only on an otherwise idle machine.

``--short`` runs one case of a few seconds, withholds some images and looks at no time: every alarm must belong to an image,
in order, and the losses must be counted right. Exit 1 where they are not, after a long run too.
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
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from functools import partial
from math import isfinite, nan
from pathlib import Path
from typing import Any

import yaml
from arrivals import (
    LOSS_LIMIT,
    Arrivals,
    Counts,
    Losses,
    Published,
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
from command_line import exit_code, make_parser, print_table, read_arguments, seconds

from ls_ood_monitor.anomalies import ANOMALIES
from ls_ood_monitor.cli.console import STDOUT, console, progress_bar, warn, write_json
from ls_ood_monitor.errors import ConfigError, DataError
from ls_ood_monitor.machine import describe_machine
from ls_ood_monitor.ros.environment import asked_domain, private_domain, require_rclpy, ros_environment
from ls_ood_monitor.ros.processes import NodeProcess, monitor_nodes
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
#: Before anything counts: an alarm raised by the silence before must clear first.
WARM_S = 2.5
#: A spoiled moment, and the clean driving after it in which the alarm clears.
SPOILED_S, RECOVERY_S = 1.5, 2.5
#: The short run withholds one image of this many.
WITHHOLD = 4
#: perception_node starts within this time, network and first pass included.
START_S = 180.0
#: Highest rate of the search, Hz.
CEILING_HZ = 240.0
#: perception_node publishes its counters once a second, so the second message after a plan holds all of it.
_REST_S = 1.2
#: Alarms and counters that do not agree yet may settle within this time.
_SETTLE_S = 10.0


@dataclass(frozen=True)
class Setup:
    """What the nodes are started for; its rates follow one another without a restart. Names are as in ``--cases``."""

    cameras: int
    width: int
    height: int
    transport: str

    @property
    def name(self) -> str:
        """Name without a rate."""
        return f"{self.cameras}cam-{self.width}x{self.height}-{self.transport}"

    def case(self, rate_hz: float) -> str:
        """Name of a case."""
        return f"{self.name}-{rate_hz:g}hz"


def chosen_cases(patterns: Sequence[str]) -> dict[Setup, list[float]]:
    """The rates of each setup whose case names match a pattern; all of them without a pattern.

    Raises ``ConfigError`` if no case matches.
    """
    setups = [
        Setup(cameras, *size, transport) for cameras in (1, len(CAMERAS)) for size in SIZES for transport in TRANSPORTS
    ]
    cases = {setup.case(rate): (setup, rate) for setup in setups for rate in RATES_HZ}
    chosen: dict[Setup, list[float]] = {}
    for name, (setup, rate) in cases.items():
        if not patterns or any(fnmatch(name, pattern) for pattern in patterns):
            chosen.setdefault(setup, []).append(rate)
    if not chosen:
        raise ConfigError(f"--cases {' '.join(patterns)} fits none of {', '.join(cases)}.")
    return chosen


class Companion(NodeProcess):
    """A script of this folder as a process that takes lines and prints JSON objects; a context manager."""

    def __init__(self, script: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        super().__init__(script, {}, environment, log)
        self.command = [sys.executable, str(Path(__file__).with_name(f"{script}.py")), *arguments]
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()

    def __enter__(self) -> Companion:
        pipe = subprocess.PIPE
        with self.log.open("wb") as errors:
            self._process = subprocess.Popen(
                self.command, env=self._environment, stdin=pipe, stdout=pipe, stderr=errors
            )
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._running().stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.wait(5.0)
        self.stop()

    def send(self, content: Mapping[str, object]) -> None:
        """Write a line to it."""
        self._running().stdin.write(f"{json.dumps(content)}\n".encode())
        self._running().stdin.flush()

    def next_event(self, timeout_s: float) -> dict[str, Any] | None:
        """The next event it prints, or None where none comes within that time."""
        with suppress(queue.Empty):
            return self._events.get(timeout=timeout_s)
        return None

    def _listen(self) -> None:
        for line in self._running().stdout:
            if line.startswith(b"{"):  # not a library's greeting
                self._events.put(json.loads(line))


@dataclass
class Run:
    """A plan that was driven: its images, what arrived, and each process's share of one core, per cent."""

    images: list[Published]
    arrivals: Arrivals
    cpu_percent: dict[str, float] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def phase(self, name: str) -> list[Published]:
        """Images of the phases of this name."""
        return [image for image in self.images if image.phase == name]


class Vehicle:
    """Both nodes, cameras and listener for one setup; a context manager that leaves nothing behind.

    ``perception`` are further parameters of perception_node, ``spoil`` is the anomaly of the spoiled pictures. If
    ``watched``, the listener subscribes to every segmentation, so that the decoder runs.
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
        transport = "compressed" if compressed else "raw"
        self._parameters = {"cameras": self.cameras, "autostart": True, "transport": transport, **perception}
        self._source_arguments = [
            *("--width", str(setup.width), "--height", str(setup.height), "--spoil", spoil),
            *(["--compressed"] if compressed else []),
            *("--cameras", *self.cameras),
        ]
        self._watched = self.cameras if watched else []
        self._arrivals, self._read_to, self._plans = Arrivals(), 0, 0

    def __enter__(self) -> Vehicle:
        self._out.mkdir(parents=True, exist_ok=True)
        self._rows = self._out / "arrivals.jsonl"
        with ExitStack() as stack:

            def start(name: str, arguments: Sequence[str]) -> Companion:
                return stack.enter_context(Companion(name, arguments, self._environment, self._out / f"{name}.log"))

            nodes = monitor_nodes(self._environment, self._out, self._parameters, {"cameras": self.cameras})
            self._perception, supervisor = stack.enter_context(nodes)
            self._listener = start("arrival_log", ["--out", str(self._rows), "--cameras", *self._watched])
            self._source = start("camera_source", self._source_arguments)
            started = (supervisor, self._perception, self._listener, self._source)
            self._processes = {process.executable: process for process in started}
            self._next_event(self._listener, START_S)
            self._next_event(self._source, START_S)
            self._wait_for_counts(0)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()
        time.sleep(1.1)  # segments younger than a second are left alone
        remove_orphaned_segments()

    def drive(self, rate_hz: float, phases: Sequence[tuple[str, float, bool]], withhold: int = 0) -> Run:
        """Drive one plan; returns when the node is at rest again."""
        self._plans += 1
        log = self._out / f"plan_{self._plans}.jsonl"
        before = dict(self._arrivals.counts)
        self._arrivals = Arrivals()
        self._read_arrivals()
        self._arrivals.alarms.clear()
        self._arrivals.segmentations.clear()  # commands before the plan show whether the vehicle could move
        self._source.send({"rate_hz": rate_hz, "phases": phases, "withhold": withhold, "log": str(log)})
        meters = {name: psutil.Process(process.pid) for name, process in self._processes.items()} if psutil else {}
        patience_s = 30.0 + 2.0 * sum(duration_s for _, duration_s, _ in phases)
        cpu_percent: dict[str, dict[str, float]] = {}
        phase = ""
        while (event := self._next_event(self._source, patience_s))["event"] == "phase":
            # Of the time since the call before, which the beginning of the phase made.
            cpu_percent.setdefault(phase, {name: meter.cpu_percent() for name, meter in meters.items()})
            phase = event["name"]
        self._wait_for_counts(time.time_ns())
        images = read_rows(log)
        deadline = time.monotonic() + _SETTLE_S
        while found := complaints(images, self._arrivals, before, self._arrivals.counts):
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)  # a slow machine's last alarm or counter may still be on the way
            self._read_arrivals()
        return Run(images, self._arrivals, cpu_percent.get("clean", {}), found)

    def _wait_for_counts(self, since_ns: int) -> None:
        """Wait until the node has published counters that hold everything sent before ``since_ns``."""
        deadline = time.monotonic() + 30.0
        while True:
            self._check()
            self._read_arrivals()
            counts: dict[str, Counts] = self._arrivals.counts
            if all(name in counts and counts[name].at_ns > since_ns + _REST_S * 1e9 for name in self.cameras):
                return
            if time.monotonic() > deadline:
                raise DataError(
                    "perception_node published no counters of its cameras on /diagnostics for 30 s; it must be active."
                )
            time.sleep(0.05)

    def _read_arrivals(self) -> None:
        with self._rows.open(encoding="utf-8") as file:
            file.seek(self._read_to)
            text = file.read()
        whole = text[: text.rfind("\n") + 1]
        self._read_to += len(whole.encode())
        for line in whole.splitlines():
            self._arrivals.add(read_row(line))

    def _next_event(self, companion: Companion, timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while (event := companion.next_event(0.1)) is None:
            self._check()
            if time.monotonic() > deadline:
                raise DataError(
                    f"{companion.executable}.py printed nothing for {timeout_s:.0f} s; perception_node's last line: "
                    f"{self._perception.last_line()}"
                )
        return event

    def _check(self) -> None:
        """Raise ``DataError`` with the last line of a process that has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise DataError(f"{name} ended with {process.poll()}: {process.last_line()}")


def measure(vehicle: Vehicle, rate_hz: float, clean_s: float, stops: int) -> dict[str, Any]:
    """Figures and complaints of one case, as they go into the file."""
    spoiled = [("spoiled", SPOILED_S, True), ("recovery", RECOVERY_S, False)] * stops
    run = vehicle.drive(rate_hz, [("warm", WARM_S, False), ("clean", clean_s, False), *spoiled])
    clean = run.phase("clean")
    lost = losses(clean, run.arrivals.alarms)
    timed = episodes(run.images, run.arrivals) if stops else []
    times = [episode.stop_ms for episode in timed if isfinite(episode.stop_ms)]
    return {
        "case": vehicle.setup.case(rate_hz),
        **asdict(vehicle.setup),
        "rate_hz": rate_hz,
        "seconds": clean_s,
        "alarm_ms": percentiles(delays_ms(clean, run.arrivals.alarms)),
        "segmentation_ms": percentiles(delays_ms(clean, run.arrivals.segmentations)),
        "loss": {**asdict(lost), "percent": 100.0 * lost.share},
        "stop": {
            "episodes": len(timed),
            "not_free_before": sum(not episode.was_free for episode in timed),
            "not_stopped": sum(episode.was_free and not isfinite(episode.stop_ms) for episode in timed),
            "median_ms": percentiles(times)["p50"],
            "percentiles_ms": percentiles(times),
            "longest_ms": max(times, default=nan),
            "ms": times,
            "reasons": sorted({episode.reason for episode in timed if episode.reason}),
        },
        "cpu_percent": run.cpu_percent,
        "overhead": overhead(clean, run.arrivals.alarms),
        "source_late_ms": percentiles(image.late_ms for image in run.images),
        "complaints": run.complaints,
    }


def search(vehicle: Vehicle, clean_s: float, update: Callable[[str], None]) -> tuple[dict[str, Any], list[str]]:
    """The highest rate at which at most 5 % are lost, as it goes into the file, and the complaints of all trials."""
    found: list[str] = []

    def attempt(rate_hz: float) -> Trial:
        run = vehicle.drive(rate_hz, [("warm", WARM_S, False), ("clean", clean_s, False)])
        found.extend(run.complaints)
        clean = run.phase("clean")
        late_ms = percentiles(image.late_ms for image in clean)["p95"]
        trial = Trial(rate_hz, losses(clean, run.arrivals.alarms).share, late_ms < 500.0 / rate_hz)
        update(f"{vehicle.setup.name}, {rate_hz:g} Hz: {100.0 * trial.loss:.1f} % lost")
        return trial

    result = highest_rate(attempt, RATES_HZ[0], CEILING_HZ)
    return {**asdict(result), "trials": [{**trial._asdict(), "held": trial.held} for trial in result.trials]}, found


def short(out: Path, environment: Mapping[str, str], perception: Mapping[str, object]) -> tuple[list[str], Losses]:
    """One camera for a few seconds, some images withheld: complaints, and what became of the images."""
    phases = [("warm", 1.0, False), ("clean", 4.0, False), ("spoiled", 1.0, True)]
    with Vehicle(Setup(1, 640, 483, "raw"), out, environment, perception, "fog") as vehicle:
        run = vehicle.drive(5.0, phases, withhold=WITHHOLD)
    clean = run.phase("clean")
    found, lost = list(run.complaints), losses(clean, run.arrivals.alarms)
    withheld = sum(not image.sent for image in clean)
    if lost.silent < withheld:
        found.append(f"{withheld} images were withheld, but only {lost.silent} count as lost.")
    if not lost.judged:
        found.append("no image was judged.")
    return found, lost


def without_nan(content: Any) -> Any:
    """The same with null for NaN, which JSON does not have."""
    if isinstance(content, dict):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, list):
        return [without_nan(value) for value in content]
    return None if isinstance(content, float) and not isfinite(content) else content


def parameter(text: str) -> tuple[str, object]:
    """Name and value of ``name=value``, the value as YAML reads it."""
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier() and value):
        raise argparse.ArgumentTypeError(f"--set takes name=value, for example num_threads=1, not {text!r}.")
    return name, yaml.safe_load(value)


def _ms(figures: Mapping[str, float], *keys: str) -> str:
    return " / ".join(f"{figures[key]:.0f}" if isfinite(figures[key]) else "-" for key in keys)


def _overhead_text(figures: Mapping[str, float] | None) -> str:
    if not figures:
        return "-"
    own = f"{figures['p50_ms']:.2f} / {figures['p95_ms']:.2f} ms, {figures['percent']:.1f} %"
    return f"{own}; {figures['decode_ms']:.2f} + {figures['network_ms']:.1f}"


def print_cases(cases: Sequence[Mapping[str, Any]]) -> None:
    """Table of the fixed rates."""
    columns: dict[str, Callable[[Any], str]] = {
        "case": lambda case: case["case"],
        "alarm p50 / p95 / p99 ms": lambda case: _ms(case["alarm_ms"], "p50", "p95", "p99"),
        "segmentation": lambda case: _ms(case["segmentation_ms"], "p50", "p95", "p99"),
        "stop median / longest (n)": lambda case: (
            f"{_ms(case['stop'], 'median_ms', 'longest_ms')} ({len(case['stop']['ms'])} of {case['stop']['episodes']})"
        ),
        "never judged": lambda case: f"{case['loss']['percent']:.1f} %",
    }
    if any(case["cpu_percent"] for case in cases):
        columns["perception, supervisor CPU"] = lambda case: ", ".join(
            f"{case['cpu_percent'].get(name, nan):.0f} %" for name in ("perception_node", "supervisor_node")
        )
    if any(case["overhead"] for case in cases):
        columns["beside the network p50 / p95; decode + network ms"] = lambda case: _overhead_text(case["overhead"])
    rows = ([text(case) for text in columns.values()] for case in cases)
    print_table(columns, rows, "From the image's stamp; CPU in per cent of one core")


def print_rates(rates: Mapping[str, Mapping[str, Any]]) -> None:
    """Table of the highest rates."""
    rows = (
        (
            name,
            f"{rate['rate_hz']:.1f}" if rate["rate_hz"] else "none",
            rate["limited_by"],
            ", ".join(f"{trial['rate_hz']:g}: {100.0 * trial['loss']:.1f} %" for trial in rate["trials"]),
        )
        for name, rate in rates.items()
    )
    columns = ("cameras", "images a second, each", "limited by", "trials")
    print_table(columns, rows, "Highest rate with at most 5 % lost")


def run_all(
    chosen: Mapping[Setup, Sequence[float]],
    args: argparse.Namespace,
    out: Path,
    environment: Mapping[str, str],
    perception: Mapping[str, object],
    keep: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Every case and search; ``keep`` gets all results so far after each of them."""
    cases: list[dict[str, Any]] = []
    rates: dict[str, dict[str, Any]] = {}
    wrong: list[str] = []
    found = {"cases": cases, "highest_rates": rates, "complaints": wrong}
    done = 0
    with progress_bar("Driving", sum(map(len, chosen.values())) + len(chosen) * (not args.no_search)) as update:
        for setup, fixed in chosen.items():
            update(done, setup.name)
            folder, watched = out / setup.name, not args.alarms_only
            with Vehicle(setup, folder, environment, perception, args.spoil, watched) as vehicle:
                for rate_hz in fixed:
                    update(done, setup.case(rate_hz))
                    cases.append(measure(vehicle, rate_hz, args.seconds, args.stops))
                    wrong += [f"{cases[-1]['case']}: {text}" for text in cases[-1]["complaints"]]
                    keep(found)
                    done += 1
                if not args.no_search:
                    rates[setup.name], found_wrong = search(vehicle, args.search_seconds, partial(update, done))
                    wrong += [f"{setup.name}, search: {text}" for text in found_wrong]
                    keep(found)
                    done += 1
            update(done)
    return found


def main() -> int:
    """Measure and print."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--cases", nargs="+", default=[], metavar="PATTERN", help="names such as '4cam-*-jpeg-*'")
    add("--seconds", type=seconds, default=SECONDS, help="clean time of a case (default %(default)s)")
    add("--stops", type=int, default=STOPS, help="spoiled moments of a case (default %(default)s)")
    add("--spoil", default="fog", help="an anomaly at its strongest, or black (default %(default)s)")
    add("--alarms-only", action="store_true", help="subscribe to no segmentation, so that no decoder runs")
    add("--no-search", action="store_true", help="fixed rates only")
    add("--search-seconds", type=seconds, default=6.0, help="of a rate (default %(default)s)")
    add("--bundle", type=Path, help="default: the one in the package")
    add("--set", action="append", type=parameter, default=[], metavar="NAME=VALUE", help="parameter of perception_node")
    add("--short", action="store_true", help="one case of a few seconds that looks at no time")
    add("--logs", type=Path, metavar="DIR", help="keep the processes' logs there")
    args = read_arguments(parser)
    require_rclpy()
    if args.spoil not in (*ANOMALIES, "black") or args.spoil == "identity":
        known = ", ".join(name for name in ANOMALIES if name != "identity")
        raise ConfigError(f"--spoil is {args.spoil!r}; it must be black or one of {known}.")
    if args.stops < 0:
        raise ConfigError(f"--stops is {args.stops}; it must be 0 or more.")
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
    machine = describe_machine()
    about = {
        "machine": machine,
        "fast_dds_profile": Path(environment["FASTDDS_DEFAULT_PROFILES_FILE"]).name,
        "bundle": str(args.bundle) if args.bundle else "embedded",
        "parameters": dict(args.set),
        "alarms_only": args.alarms_only,
        "spoil": args.spoil,
        "loss_limit_percent": 100.0 * LOSS_LIMIT,
    }

    def keep(found: dict[str, Any]) -> None:
        if args.json != STDOUT:  # the file has the results so far, should the next case never end
            write_json(args.json, without_nan({**about, **found}))

    with tempfile.TemporaryDirectory() as temporary:
        out = args.logs if args.logs is not None else Path(temporary)
        if args.short:
            wrong, lost = short(out, environment, perception)
            report = {**about, "short": asdict(lost), "complaints": wrong}
            console.print(f"{lost.published} images: {lost.judged} judged, {lost.faulted} faults, {lost.silent} lost")
        else:
            report = {**about, **run_all(chosen, args, out, environment, perception, keep)}
            wrong = report["complaints"]
            console.print(f"{machine['cpu']}, {machine['cores']} cores, torch {machine['versions'].get('torch', '?')}")
            print_cases(report["cases"])
            if report["highest_rates"]:
                print_rates(report["highest_rates"])
    write_json(args.json, without_nan(report))
    for text in wrong:
        console.print(f"[bold red]wrong[/]: {text}", highlight=False)
    if not wrong:
        console.print("every alarm belongs to an image, in order; losses agree with the node's counters")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
