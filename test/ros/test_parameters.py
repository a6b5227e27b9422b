"""Settings dataclasses as ROS parameters, on real nodes."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

from rclpy.node import Node
from rclpy.parameter import Parameter

from ls_ood_monitor.config import (
    AlarmSettings,
    OutputSettings,
    PerceptionNodeSettings,
    SupervisorNodeSettings,
    SupervisorSettings,
)
from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.ros.parameters import check_unknown, declare_settings, read_settings

ALL = (AlarmSettings, PerceptionNodeSettings, SupervisorSettings, SupervisorNodeSettings, OutputSettings)


@pytest.fixture
def node_with(ros):
    """A node that was started with some parameters; destroyed after the test."""
    nodes = []

    def make(**values) -> Node:
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        nodes.append(Node("parameter_test", parameter_overrides=overrides))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


@pytest.mark.parametrize("cls", ALL)
def test_defaults_round_trip(node_with, cls):
    """Declared and read back, a settings class is its default."""
    node = node_with()
    declare_settings(node, cls)
    assert read_settings(node, cls) == cls()


@pytest.mark.parametrize("cls", ALL)
def test_descriptors_carry_meaning_unit_and_range(node_with, cls):
    """'ros2 param describe' shows what the dataclass says."""
    node = node_with()
    declare_settings(node, cls)
    for name, spec in cls.__dataclass_fields__.items():
        descriptor, meta = node.describe_parameter(name), spec.metadata
        assert descriptor.description.startswith(meta["description"])
        assert (f"[{meta['unit']}]" in descriptor.description) == bool(meta["unit"])
        ranges = [*descriptor.floating_point_range, *descriptor.integer_range]
        assert [(limits.from_value, limits.to_value) for limits in ranges] == (
            [] if meta["low"] is None else [(meta["low"], meta["high"])]
        )
        assert all(choice in descriptor.additional_constraints for choice in meta["choices"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"overlay_alpha": 1.5}, r"overlay_alpha must be a number with a decimal point within \[0.0, 1.0\]"),
        ({"overlay_alpha": 1}, "overlay_alpha must be a number with a decimal point"),
        ({"num_threads": -1}, r"num_threads must be a whole number within \[0, 1024\]"),
        ({"autostart": "yes"}, "autostart must be true or false"),
        ({"cameras": "front"}, "cameras must be a list of texts"),
        ({"cameras": ["front", "front"]}, "twice"),
        ({"transport": "pigeon"}, "must be one of 'raw', 'compressed'"),
    ],
)
def test_values_that_cannot_be_used_are_a_sentence(node_with, values, words):
    """Type, range, choice: refused with the parameter's name and the rule."""

    def read() -> PerceptionNodeSettings:
        node = node_with(**values)
        declare_settings(node, PerceptionNodeSettings)
        return read_settings(node, PerceptionNodeSettings)

    with pytest.raises(ConfigError, match=words):
        read()


def test_a_change_out_of_range_or_of_a_read_only_parameter_is_refused(node_with):
    """At run time rclpy holds the declared range; the supervisor's parameters cannot change at all."""
    node = node_with()
    declare_settings(node, AlarmSettings)
    declare_settings(node, SupervisorSettings, read_only=True)
    refused = node.set_parameters(
        [Parameter("trigger_consecutive_frames", value=0), Parameter("alarm_timeout_s", value=1.0)]
    )
    assert [answer.successful for answer in refused] == [False, False]
    assert all(answer.reason for answer in refused)
    assert node.set_parameters([Parameter("trigger_consecutive_frames", value=7)])[0].successful
    assert read_settings(node, AlarmSettings).trigger_consecutive_frames == 7


def test_a_parameter_of_another_node_is_logged(node_with, capfd):
    """A shared parameter file must not stop the node; what every node takes is not worth a word."""
    node = node_with(wheel_radius=0.3, overlay_alpha=0.25, use_sim_time=False, cameras=["left"])
    check_unknown(node, PerceptionNodeSettings, AlarmSettings)
    log = capfd.readouterr().err
    assert "wheel_radius is not one of this node's" in log
    assert not any(name in log for name in ("use_sim_time", "overlay_alpha", "cameras"))


@pytest.mark.parametrize("name", ["triger_consecutive_frames", "Overlay-Alpha", "overlayalpha"])
def test_a_misspelt_parameter_is_refused_with_the_name_that_was_meant(node_with, name):
    """One letter, capitals or a hyphen: a setting that would be ignored is refused before the node runs on a default."""
    with pytest.raises(ConfigError, match=f"parameter {name} is not known; did you mean (trigger_cons|overlay_alpha)"):
        check_unknown(node_with(**{name: 1}), PerceptionNodeSettings, AlarmSettings)
