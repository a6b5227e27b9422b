"""A bundle's calibration as sentences, also of older bundles that state less."""

from __future__ import annotations

import pytest

from ls_ood_monitor.bundle import verify_bundle
from ls_ood_monitor.calibration.summary_text import calibrated_on, calibration_target


def test_the_embedded_bundle_states_its_data_and_target():
    """The text states frames, blocks, the first drives, cameras, the target rate and what was held out."""
    calibration = verify_bundle().content["provenance"]["calibration"]
    text = calibrated_on(calibration)
    assert f"{calibration['frames']} clean frames" in text
    assert f"{len(calibration['drives'])} drives: " in text
    assert f"and {len(calibration['drives']) - 4} more" in text
    assert all(camera in text for camera in calibration["cameras"])
    assert calibration_target(calibration).startswith(
        f"Target: {calibration['target']['per_hour']:g} false alarms an hour ("
    )


@pytest.mark.parametrize(
    ("calibration", "text", "target"),
    [
        ({}, "Calibrated on ? clean frames.", ""),
        ({"frames": 9, "drives": 2}, "Calibrated on 9 clean frames, 2 drives.", ""),
        (
            {
                "frames": 9,
                "hours": 2.5,
                "hold_out": "block",
                "target": {"per_hour": 1.0},
                "alarm": {"trigger_consecutive_frames": 3},
            },
            "Calibrated on 9 clean frames. Video: 2.5 h.",
            "Target: 1 false alarms an hour (3 frames in a row); blocks of time held out.",
        ),
    ],
)
def test_what_a_bundle_does_not_say_is_left_out(calibration, text, target):
    """Facts that a manifest lacks are left out."""
    assert calibrated_on(calibration) == text
    assert calibration_target(calibration) == target
