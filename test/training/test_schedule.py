"""Learning-rate schedules against torch's own."""

from __future__ import annotations

import pytest
import torch

from ls_ood_monitor.training.schedule import SCHEDULES, rate_factor


def by_torch(make, steps):
    """Rates of a torch scheduler, peak 1."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make(optimiser)
    rates = []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("cosine", lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 50)),
        ("poly", lambda o: torch.optim.lr_scheduler.PolynomialLR(o, 50, power=0.9)),
    ],
)
def test_courses_equal_torch(name, make):
    """Step by step the same as torch's closed forms."""
    assert [rate_factor(name, step / 50) for step in range(50)] == pytest.approx(by_torch(make, 50), abs=1e-6)


def test_one_cycle_is_near_torch():
    """The same course as OneCycleLR up to its last two steps' rounding of phases."""

    def make(optimiser):
        return torch.optim.lr_scheduler.OneCycleLR(
            optimiser, 1.0, total_steps=400, pct_start=0.15, cycle_momentum=False
        )

    ours = [rate_factor("one_cycle", step / 400) for step in range(400)]
    assert ours == pytest.approx(by_torch(make, 400), abs=0.02)


@pytest.mark.parametrize("name", SCHEDULES)
def test_factors_stay_within_the_peak(name):
    """Between 0 and 1, also beyond the planned end."""
    assert all(0.0 <= rate_factor(name, step / 20) <= 1.0 for step in range(30))
    assert rate_factor("cosine", 2.0) == pytest.approx(0.0)
