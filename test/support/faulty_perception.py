"""perception_node whose network fails on demand: the real node, the real network, and a defect put into it.

The file that NETWORK_FAULT_FILE names says what shall happen, read before every batch: nothing (empty), ``out_of_memory``
(an exception as torch raises it), ``nan_weights`` (every weight of the network is NaN) or ``slow`` (0.8 s a frame).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ls_ood_monitor.core.types import Frame
from ls_ood_monitor.monitor import MonitorPass, OodMonitor
from ls_ood_monitor.ros.perception_node import main

_control = Path(os.environ["NETWORK_FAULT_FILE"])
_healthy: dict[str, Any] = {}
_begin = OodMonitor.begin
#: How long a slow network takes, in seconds: longer than a picture stays fresh, shorter than what counts as hung.
_SLOW_S = 0.8


def _begin_with_faults(self: OodMonitor, frames: Sequence[Frame], **options: Any) -> MonitorPass:
    fault = _control.read_text(encoding="utf-8")
    network = self.frame_pass.network
    if fault == "nan_weights" and not _healthy:
        _healthy.update({key: value.clone() for key, value in network.state_dict().items()})
        with torch.no_grad():
            for weight in network.parameters():
                weight.fill_(float("nan"))
    elif fault != "nan_weights" and _healthy:
        network.load_state_dict(_healthy)
        _healthy.clear()
    if fault == "out_of_memory":
        raise torch.OutOfMemoryError("CUDA out of memory (put in by the fault campaign)")
    started = time.monotonic()
    run = _begin(self, frames, **options)
    _ = run.verdicts
    if fault == "slow":
        time.sleep(max(0.0, started + _SLOW_S - time.monotonic()))
    return run


OodMonitor.begin = _begin_with_faults  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
