"""Lets a CUDA-built torchvision import beside a CPU-only torch.

PyPI ships torchvision built for CUDA alone. Its compiled operators cannot load beside a CPU torch, and the
import then fails on ``operator torchvision::nms does not exist`` because two operators get a fake kernel
unconditionally. Nothing here uses those operators, so naming them is enough. On a matching pair of builds
this module does nothing. Remove it once upstream publishes a CPU wheel (pytorch/vision issue 9085).

Import this module before ``torchvision``.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
#: Keeps the operator names registered: they vanish with the object.
_library: torch.library.Library | None = None


def _torchvision_is_cuda_build() -> bool:
    """Read torchvision's version file without importing torchvision."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    return re.search(r"__version__ = '[^']*\+cu\d+'", text) is not None


def define_missing_operators() -> bool:
    """Name torchvision's two operators if, and only if, the builds mismatch. True when that was needed."""
    global _library
    if _library is not None or "torchvision" in sys.modules:
        return False
    if torch.version.cuda is not None or not _torchvision_is_cuda_build():
        return False
    _library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        _library.define(schema)
    return True


define_missing_operators()
