"""The cost of a calibration: what a further frame costs is the slope between two lengths."""

from __future__ import annotations

import argparse

import pytest

pytest.importorskip("torch")

import calibration


def test_what_is_paid_once_is_not_in_a_further_frame():
    """Start and fits drop out of the slope; the first length has none."""
    rows = [
        {"frames": frames, "seconds": 300.0 + 0.022 * frames, "pass_seconds": 10.0 + 0.02 * frames}
        for frames in (3000, 12000)
    ]
    calibration.add_slopes(rows)
    assert "frame_ms" not in rows[0]
    assert (rows[1]["frame_ms"], rows[1]["pass_frame_ms"], rows[1]["share_of_pass"]) == (22.0, 20.0, 1.1)


def test_lengths_are_numbers_of_frames():
    """In ascending order; too few frames are refused."""
    assert calibration.parse_lengths("12000,3000") == [3000, 12000]
    with pytest.raises(argparse.ArgumentTypeError, match="at least 400"):
        calibration.parse_lengths("3000,10")
