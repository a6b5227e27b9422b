"""Camera out-of-distribution monitor for ROS 2. The names below are imported when they are first used.

import ls_ood_monitor as ood

monitor = ood.load_bundle("my_bundle")
prediction = monitor.predict(ood.read_picture("frame.png"))
prediction.is_ood, prediction.score, prediction.threshold
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.3.0"

#: Public name -> module of this package that defines it, and its name there; an empty name is the module itself.
_PUBLIC = {
    "OodMonitor": ("monitor", "OodMonitor"),
    "Prediction": ("prediction", "Prediction"),
    "adopt": ("adoption.from_torch", "adopt"),
    "calibrate": ("api", "calibrate"),
    "detectors": ("core.detectors", ""),
    "load_bundle": ("bundle", "load_bundle"),
    "read_picture": ("api", "read_picture"),
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Import a public name (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    loaded = import_module(f".{module}", __name__)
    globals()[name] = value = getattr(loaded, attribute) if attribute else loaded
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
