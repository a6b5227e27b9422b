"""Choice of the device that runs the network, and the limit of a GPU's memory."""

from __future__ import annotations

import torch

from ..errors import ConfigError


def choose_device(name: str) -> torch.device:
    """Resolve ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:1``. A GPU in the result has its number.

    Raises ``ConfigError`` for an unknown name, or a GPU that torch does not see.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device is {name!r}; use auto, cpu, cuda or cuda:<index>.")
    if device.type == "cpu":
        return device
    index = device.index or 0
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        raise ConfigError(
            f"device is {name!r}, but torch sees {torch.cuda.device_count()} GPUs; use device cpu or auto."
        )
    return torch.device("cuda", index)  # some of torch's functions need the number


def limit_gpu_memory(device: str, limit_mb: float) -> None:
    """Limit the memory that torch takes of a GPU; 0 = no limit. Does nothing on a CPU.

    ONNX Runtime has memory of its own: sessions opened after this call may take as much again. Raises ``ConfigError``
    as ``choose_device`` does, and for a limit above the GPU's memory.
    """
    target = choose_device(device)
    if target.type == "cpu":
        return
    fraction = 1.0  # also lifts an earlier limit of this process
    if limit_mb != 0.0:
        total_mb = torch.cuda.get_device_properties(target).total_memory / 1e6
        if limit_mb > total_mb:
            raise ConfigError(f"gpu_memory_mb is {limit_mb:g}, but {target} has {total_mb:.0f} MB; use less, or 0.")
        fraction = limit_mb / total_mb
    torch.cuda.set_per_process_memory_fraction(fraction, target)
