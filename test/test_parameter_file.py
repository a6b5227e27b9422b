"""The nodes' parameter file, read for an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from ls_ood_monitor.errors import ConfigError
from ls_ood_monitor.parameter_file import VehicleSettings, read_image_topics, read_parameters

SHIPPED = Path(__file__).parents[1] / "config" / "monitor.yaml"


def test_the_shipped_file_holds_the_defaults():
    """Every default of the nodes, read from what the launch file gives them."""
    assert read_parameters(SHIPPED) == VehicleSettings()


def test_values_of_any_namespace_are_read(tmp_path):
    """Those of the node, and those of every node; lists become tuples."""
    path = tmp_path / "car.yaml"
    path.write_text(
        "/car/perception_node:\n  ros__parameters: {trigger_consecutive_frames: 5, max_age_s: 0.3, image_timeout_s: 0.7}\n"
        "/**/supervisor_node:\n  ros__parameters: {alarm_timeout_s: 0.8, cameras: [front, rear], optional_cameras: [rear]}\n"
        "/**:\n  ros__parameters: {use_sim_time: true}\n"
    )
    settings = read_parameters(path)
    assert settings.alarm.trigger_consecutive_frames == 5
    assert settings.health.max_age_s == 0.3
    assert settings.image_timeout_s == 0.7
    assert settings.supervisor.alarm_timeout_s == 0.8
    assert settings.supervisor.optional_cameras == ("rear",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "cannot be read as YAML"),
        ("other: 1", "holds no parameters of perception_node or supervisor_node"),
        ("perception_node: {ros__parameters: {max_age: 1.0}}", "perception_node has no parameter max_age"),
        ("perception_node: {ros__parameters: {max_age_s: 100.0}}", "max_age_s is 100.0; it must lie within"),
    ],
)
def test_what_a_node_would_refuse_is_refused(tmp_path, text, words):
    """In a sentence."""
    path = tmp_path / "car.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_parameters(path)


def test_topics_of_images_are_those_of_cameras_and_transport(tmp_path):
    """Of the file, where nothing is given beside it; of the node's defaults, where the file is silent."""
    path = tmp_path / "car.yaml"
    path.write_text("/**/perception_node: {ros__parameters: {cameras: [front, rear], transport: compressed}}")
    assert read_image_topics(path) == ["front/image/compressed", "rear/image/compressed"]
    assert read_image_topics(path, ["left"], "raw") == ["left/image"]
    assert read_image_topics(SHIPPED) == ["front/image"]
    with pytest.raises(ConfigError, match="transport is 'jpeg'"):
        read_image_topics(path, transport="jpeg")
