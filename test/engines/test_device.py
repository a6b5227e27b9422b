"""The device that runs the network."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from ls_ood_monitor.engines.device import choose_device, limit_gpu_memory
from ls_ood_monitor.errors import ConfigError


@pytest.fixture
def two_gpus(monkeypatch):
    """Torch as it answers with two GPUs of 8 GB; gives the fractions of memory that it is limited to."""
    fractions: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: type("Gpu", (), {"total_memory": 8 * 10**9})
    )
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, device: fractions.append(share))
    return fractions


@pytest.mark.parametrize(("name", "number"), [("auto", 0), ("cuda", 0), ("cuda:1", 1)])
def test_a_gpu_comes_with_its_number(two_gpus, name, number):
    """Torch's limit of memory, for one, refuses a GPU without one."""
    assert choose_device(name) == torch.device("cuda", number)


@pytest.mark.parametrize("name", ["cuda:2", "tpu", "mps", ""])
def test_a_device_that_is_not_there_is_refused(two_gpus, name):
    """A GPU beyond the last, another kind of device, and no device at all."""
    with pytest.raises(ConfigError, match=f"device is '{name}'"):
        choose_device(name)


def test_a_limit_of_gpu_memory_is_a_share_of_it(two_gpus):
    """2 GB of 8 GB are a quarter; 0 lifts the limit; more than there is is refused; a CPU has none."""
    limit_gpu_memory("cuda", 2000.0)
    limit_gpu_memory("cuda", 0.0)
    limit_gpu_memory("cpu", 2000.0)
    assert two_gpus == [0.25, 1.0]
    with pytest.raises(ConfigError, match="has 8000 MB"):
        limit_gpu_memory("cuda", 9000.0)
