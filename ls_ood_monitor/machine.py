"""Describe the machine of a measurement."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

_PACKAGES = (
    "torch",
    "onnxruntime",
    "openvino",
    "torch-uncertainty",
    "pytorch-ood",
    "ros-rclpy",
    "ros-rmw-fastrtps-cpp",
)


def describe_machine() -> dict[str, Any]:
    """Processor, cores, threads, load, GPU (memory in GB) and package versions, as JSON data."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # not installed, or part of a ROS distribution
            continue
    has_gpu = torch.cuda.is_available()
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2),
        "gpu": torch.cuda.get_device_name() if has_gpu else "",
        "gpu_memory_gb": round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1) if has_gpu else 0.0,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": versions,
    }


def processor() -> str:
    """Model of the processor; contains no name of the machine or its user."""
    fallback = platform.processor() or platform.machine()
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return fallback
    models = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(models, fallback)
