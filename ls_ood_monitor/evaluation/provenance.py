"""Where an evaluation comes from: software, recording, truth, and the parameters in force. Equal requests, equal facts."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ..config import AlarmSettings
from ..machine import processor
from ..monitor import OodMonitor
from ..parameter_file import VehicleSettings
from ..recordings.recording import Recording, files_of
from .request import Request
from .results import Environment, NetworkFacts, RecordingFacts, RecordingProvenance
from .timespans import Limits


def provenance(request: Request, monitor: OodMonitor) -> RecordingProvenance:
    """Facts for ``summary.json``."""
    return RecordingProvenance(
        version=request.version,
        network=NetworkFacts(monitor.device.type, monitor.engine_name, monitor.precision),
        environment=environment(monitor),
        parameters=parameters(request.vehicle, monitor.alarm, request.limits),
        recording=recording_facts(request.recording),
        events_file=None if request.events_file is None else str(request.events_file),
    )


def environment(monitor: OodMonitor) -> Environment:
    """Machine that judges, and versions of its libraries."""
    versions = {"Python": platform.python_version(), "torch": torch.__version__}
    versions |= {"numpy": np.__version__, "OpenCV": cv2.__version__}
    versions |= {name: metadata.version(name) for name in ("plotly", "rosbags")}
    if monitor.engine_name == "onnx":
        import onnxruntime  # its GPU package has another name, so it is asked itself

        versions["ONNX Runtime"] = onnxruntime.__version__
    machine = f"{platform.system()} {platform.machine()}, {processor()}, {os.cpu_count()} cores"
    gpu = torch.cuda.get_device_name(monitor.device) if monitor.device.type == "cuda" else None
    return Environment(machine, gpu, versions)


def recording_facts(recording: Recording) -> RecordingFacts:
    """Of its files; pictures and videos have no start."""
    files, start = files_of(recording.path), None
    if recording.topics is not None:
        moment = datetime.fromtimestamp(recording.begin_ns // 10**6 / 1e3, timezone.utc)
        start = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    rate_hz = recording.assumed_rate_hz or recording.rate_hz
    size = sum(file.stat().st_size for file in files)
    return RecordingFacts(str(recording.path), _format(recording, files), start, rate_hz, size)


def _format(recording: Recording, files: list[Path]) -> str:
    if recording.topics is None:
        return "pictures" if recording.path.is_dir() else f"video ({recording.path.suffix.lstrip('.')})"
    kinds = {suffix for file in files for suffix in file.suffixes}
    if ".bag" in kinds:
        return "ROS 1 bag"
    return f"ROS 2 bag ({'mcap' if '.mcap' in kinds else 'sqlite3'})"


def parameters(vehicle: VehicleSettings, calibrated: AlarmSettings, limits: Limits) -> dict[str, dict[str, Any]]:
    """What decides when the vehicle stops, by node, as in a ROS parameter file, and the limits of the judgement, seconds.

    The vehicle's alarm settings override the ``calibrated`` ones of the bundle.
    """
    perception = {**asdict(vehicle.alarm.of(calibrated)), **asdict(vehicle.health)}
    supervisor = asdict(vehicle.supervisor) | {"optional_cameras": list(vehicle.optional_cameras)}
    return {
        "perception_node": {**perception, "image_timeout_s": vehicle.image_timeout_s},
        "supervisor_node": {**supervisor, "publish_rate_hz": vehicle.publish_rate_hz},
        "judgement": {"stop_within_s": limits.stop_s, "release_within_s": limits.release_s},
    }
