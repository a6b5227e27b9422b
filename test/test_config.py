"""Settings: ranges, choices and unknown names."""

from __future__ import annotations

import pickle

import pytest

from ls_ood_monitor.config import (
    AlarmSettings,
    OutputSettings,
    PerceptionNodeSettings,
    SupervisorNodeSettings,
    SupervisorSettings,
    check_camera_names,
    from_mapping,
)
from ls_ood_monitor.errors import ConfigError, SettingError


@pytest.mark.parametrize(
    ("cls", "values", "words"),
    [
        (AlarmSettings, {"trigger_consecutive_frames": 0}, r"trigger_consecutive_frames is 0; .* \[1, 1000\] frames"),
        (SupervisorSettings, {"alarm_timeout_s": float("nan")}, "alarm_timeout_s is nan"),
        (SupervisorSettings, {"alarm_timeout_s": "soon"}, "alarm_timeout_s is 'soon'"),
        (SupervisorSettings, {"alarm_timeout_s": True}, "alarm_timeout_s is True"),
        (
            SupervisorSettings,
            {"stop_requires_reset": "false"},
            "stop_requires_reset is 'false'; it must be true or false",
        ),
        (SupervisorNodeSettings, {"publish_rate_hz": 1.0}, r"\[10.0, 200.0\] Hz"),
        (PerceptionNodeSettings, {"transport": "pigeon"}, "'raw', 'compressed'"),
        (PerceptionNodeSettings, {"cameras": ()}, "cameras is empty"),
        (AlarmSettings, {"release_consecutive_frames": 10001}, r"\[1, 10000\] frames"),
        (SupervisorSettings, {"alarm_timeout_s": 0.0}, r"alarm_timeout_s is 0.0; .* \[0.01, 60.0\] s"),
        (SupervisorSettings, {"alarm_timeout_s": float("inf")}, "alarm_timeout_s is inf"),
        (SupervisorSettings, {"alarm_timeout_s": None}, "alarm_timeout_s is None"),
        (SupervisorSettings, {"startup_grace_s": -1.0}, "startup_grace_s is -1.0"),
        (PerceptionNodeSettings, {"overlay_alpha": 1.1}, r"overlay_alpha is 1.1; .* \[0.0, 1.0\]\."),
        (OutputSettings, {"gate_cmd_vel": "yes"}, "'', 'twist', 'twist_stamped'"),
        (OutputSettings, {"gate_slow_scale": 1.1}, r"gate_slow_scale is 1.1; .* \[0.0, 1.0\]"),
        (OutputSettings, {"slow_speed_percent": 0.0}, r"slow_speed_percent is 0.0; .* \[1.0, 100.0\] %"),
        (AlarmSettings, {"trigger_frames": 3}, "no setting trigger_frames; known: lasting_window"),
    ],
)
def test_a_setting_out_of_range_is_named(cls, values, words):
    """Name, rule, value and unit stand in the sentence."""
    with pytest.raises(ConfigError, match=words):
        from_mapping(cls, values)


@pytest.mark.parametrize("names", [["front left"], ["1st"], ["front", "front"], [""], ["a/b"]])
def test_camera_names_must_fit_a_topic(names):
    """Names that ROS cannot put into a topic, or doubles, are refused."""
    with pytest.raises(ConfigError, match=r"camera"):
        check_camera_names(names)


def test_the_limits_themselves_are_allowed():
    """Ranges include both ends, and a mapping that names everything builds what the constructor builds."""
    for cls in (AlarmSettings, SupervisorSettings):
        for end in ("low", "high"):
            values = {
                name: spec.default if spec.metadata[end] is None else spec.metadata[end]
                for name, spec in cls.__dataclass_fields__.items()
            }
            assert from_mapping(cls, values) == cls(**values)
    assert from_mapping(AlarmSettings, {}) == AlarmSettings()


def test_every_setting_is_described():
    """Each field has a description for ROS, and numbers have a range."""
    for cls in (AlarmSettings, SupervisorSettings, PerceptionNodeSettings, SupervisorNodeSettings, OutputSettings):
        for name, spec in cls.__dataclass_fields__.items():
            assert spec.metadata["description"], name
            if isinstance(spec.default, (int, float)) and not isinstance(spec.default, bool):
                assert spec.metadata["low"] is not None, name
                assert spec.metadata["high"] is not None, name


def test_an_error_of_a_setting_survives_a_process():
    """Workers send it back: owner, setting and fault are data, and the sentence is the same."""
    with pytest.raises(SettingError) as caught:
        AlarmSettings(trigger_consecutive_frames=0)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.owner, again.setting) == ("AlarmSettings", "trigger_consecutive_frames")
    assert str(again) == str(caught.value)
    assert str(again).endswith(again.fault)


@pytest.mark.parametrize("bits", [1, 7])
def test_image_bits_below_eight_are_refused(bits):
    """A number of bits is 0, or 8 to 16."""
    with pytest.raises(ConfigError, match=f"image_bits is {bits}; it must be 0"):
        PerceptionNodeSettings(image_bits=bits)
