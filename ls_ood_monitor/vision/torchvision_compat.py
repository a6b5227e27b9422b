"""Lets a CUDA-built torchvision import beside a CPU-only torch.

PyPI has torchvision for CUDA only. Its compiled operators cannot load beside a CPU torch, and the import fails with
``operator torchvision::nms does not exist``, because torchvision registers fake kernels for two operators in any case.
The package uses neither operator, so declaring them is enough. With matching builds this module does nothing. Remove it
once upstream publishes a CPU wheel (pytorch/vision issue 9085).

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
#: Keeps the operators declared: they vanish with the object.
_library: torch.library.Library | None = None


def _torchvision_is_cuda_build() -> bool:
    """Read torchvision's version file without importing torchvision."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    return re.search(r"__version__ = '[^']*\+cu\d+'", text) is not None


def define_missing_operators() -> bool:
    """Declare torchvision's two operators if the builds do not match. Returns whether that was needed."""
    global _library
    if _library is not None or "torchvision" in sys.modules:
        return False
    if torch.version.cuda is not None or not _torchvision_is_cuda_build():
        return False
    _library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]  # torch has no types for it
    for schema in _SCHEMAS:
        _library.define(schema)  # type: ignore[no-untyped-call]  # torch has no types for it
    return True


define_missing_operators()
