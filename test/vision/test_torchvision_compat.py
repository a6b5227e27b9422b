"""torchvision imports beside whichever torch is installed."""

from __future__ import annotations

import subprocess
import sys


def test_torchvision_imports_in_a_fresh_process():
    """The network side imports although PyPI's torchvision is built for CUDA; a second call changes nothing."""
    code = (
        "import ls_ood_monitor.vision.torchvision_compat as c, torchvision, torch;"
        "assert not c.define_missing_operators();"
        "print(torchvision.models.resnet18(weights=None).eval()(torch.zeros(1, 3, 32, 32)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[1, 1000]" in done.stdout
