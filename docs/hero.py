"""Draws the moving picture of the README from a run of the vehicle's pipeline on a video.

    python docs/hero.py VIDEO BUNDLE docs/img/hero.gif

The part of the video from ``--begin`` on is judged as ``ls-ood evaluate`` does; synthetic fog is put over it between two
times. Each picture shows the classes, the anomaly map, the score over time with its threshold, alarm and command.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ls_ood_monitor.anomalies import apply_anomaly
from ls_ood_monitor.bundle import load_bundle
from ls_ood_monitor.core.types import Frame, FrameResult
from ls_ood_monitor.evaluation.replay import FrameRecord, Replay, TimedVerdict
from ls_ood_monitor.monitor import OodMonitor
from ls_ood_monitor.parameter_file import VehicleSettings
from ls_ood_monitor.recordings.bags import ImageArrival
from ls_ood_monitor.vision.overlay import draw_map, draw_overlay

START_NS, CAMERA = 10**18, "front"
COLOURS = {"NOMINAL": "#2e8b57", "SLOW": "#e69f00", "STOP": "#c0392b"}


def arrivals(video: Path, begin_s: float, fog: tuple[float, float], severity: int) -> Iterator[ImageArrival]:
    """The video's pictures from ``begin_s`` on, foggy between two times."""
    capture = cv2.VideoCapture(str(video))
    rate_hz, number = capture.get(cv2.CAP_PROP_FPS), 0
    while (read := capture.read())[0]:
        time_s = number / rate_hz - begin_s
        number += 1
        if time_s >= 0.0:
            image = np.asarray(read[1], np.uint8)
            if fog[0] <= time_s < fog[1]:
                image = apply_anomaly("fog", image, severity, seed=0)
            stamp_ns = START_NS + round(time_s * 1e9)
            yield ImageArrival(CAMERA, "/front/image", stamp_ns, stamp_ns, "bgr8", image)


def judged(monitor: OodMonitor, images: Iterator[ImageArrival]) -> Iterator[tuple[FrameRecord, FrameResult]]:
    """Each picture's record and result."""
    results: list[FrameResult] = []

    def network(frame: Frame) -> TimedVerdict:
        result = monitor.process([frame])[0]
        results.append(result)
        return TimedVerdict(frame, result.score, result.threshold, result.detector, result.scores, result.anomaly_map)

    for record in Replay(monitor, [CAMERA], VehicleSettings(), START_NS, network).run(images):
        yield record, results[-1]


def draw(records: list[FrameRecord], result: FrameResult, fog: tuple[float, float], end_s: float) -> NDArray[np.uint8]:
    """One picture, RGB."""
    record = records[-1]
    figure = plt.figure(figsize=(7.2, 3.6), dpi=100, layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(1.5, 1))
    overlay = draw_overlay(result, record.alarm, 0.55)
    heat = draw_map(result)
    for column, (panel, title) in enumerate(
        ((overlay, "classes, and cells above the threshold"), (heat, "anomaly map"))
    ):
        axes = figure.add_subplot(grid[0, column])
        if panel is not None:
            axes.imshow(cv2.resize(panel, (480, 270), interpolation=cv2.INTER_AREA)[:, :, ::-1])
        axes.set_title(title, fontsize=8)
        axes.set_axis_off()
    axes = figure.add_subplot(grid[1, :])
    axes.axvspan(*fog, color="0.85", label="synthetic fog")
    axes.axhline(1.0, color="0.3", linewidth=0.8, linestyle="--", label="threshold")
    times = [one.time_s for one in records]
    axes.plot(times, [one.alarm.ratio for one in records], color="#1f77b4", linewidth=1.5, label="score / threshold")
    axes.set(xlim=(0.0, end_s), ylim=(0.0, 3.0), xlabel="seconds")
    axes.tick_params(labelsize=7)
    axes.xaxis.label.set_size(8)
    axes.legend(loc="upper left", fontsize=7, ncols=3, frameon=False)
    mode = record.mode.name
    axes.text(
        *(0.99, 0.94, f"alarm {record.alarm.state.value}    command {mode}"),
        transform=axes.transAxes, ha="right", va="top", fontsize=9, color="white", weight="bold",
        bbox={"facecolor": COLOURS[mode], "edgecolor": "none", "boxstyle": "round,pad=0.4"},
    )  # fmt: skip
    figure.canvas.draw()
    picture = np.asarray(figure.canvas.buffer_rgba())[:, :, :3].copy()  # type: ignore[attr-defined]
    plt.close(figure)
    return picture


def main() -> None:
    """Judge, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("out", type=Path, help="GIF to write")
    parser.add_argument("--begin", type=float, default=4.4, help="seconds of the video to leave out")
    parser.add_argument("--fog", type=float, nargs=2, default=(1.2, 2.6), help="seconds, after --begin")
    parser.add_argument("--severity", type=int, default=3)
    parser.add_argument("--every", type=int, default=3, help="draw every so many pictures")
    parser.add_argument("--colours", type=int, default=224)
    args = parser.parse_args()
    fog = tuple(args.fog)
    results = list(judged(load_bundle(args.bundle), arrivals(args.video, args.begin, fog, args.severity)))
    records = [record for record, _ in results]
    for record in records:
        print(f"{record.time_s:.2f} {record.alarm.ratio:.2f} {record.alarm.state.value} {record.mode.name}")
    pictures = [
        Image.fromarray(draw(records[: index + 1], results[index][1], fog, records[-1].time_s))
        for index in range(0, len(records), args.every)
    ]
    palette = Image.fromarray(np.vstack([np.asarray(picture) for picture in pictures[::6]])).quantize(args.colours)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    period_ms = round(1e3 * records[-1].time_s / len(records) * args.every * 1.6)
    frames[0].save(args.out, save_all=True, append_images=frames[1:], duration=period_ms, loop=0, optimize=True)
    print(f"{args.out}: {len(frames)} pictures, {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
