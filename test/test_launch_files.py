"""Launch and configuration files.

``launch`` and ``launch_ros`` come with a ROS distribution, not from pip. Where they are installed the launch files are
really loaded; everywhere, a recorder stands in for both packages to read what the files declare.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from ls_ood_monitor.config import (
    AlarmOverrides,
    HealthSettings,
    OutputSettings,
    PerceptionNodeSettings,
    SupervisorNodeSettings,
    SupervisorSettings,
)

ROOT = Path(__file__).parents[1]
LAUNCH_FILES = ("monitor.launch.py", "replay.launch.py", "rviz.launch.py")
PERCEPTION = {
    name: spec
    for cls in (PerceptionNodeSettings, AlarmOverrides, HealthSettings)
    for name, spec in cls.__dataclass_fields__.items()
}
SUPERVISOR = {
    **SupervisorNodeSettings.__dataclass_fields__,
    **SupervisorSettings.__dataclass_fields__,
    **OutputSettings.__dataclass_fields__,
}


class Recorded:
    """Stands in for any launch class and keeps how it was called."""

    def __init__(self, name: str, args: tuple, options: dict) -> None:
        self.name, self.args, self.options = name, args, options

    def perform(self, context: dict[str, str]) -> str:
        """What a LaunchConfiguration does: look its argument up."""
        return context[self.args[0]]


class Recorder(types.ModuleType):
    """A module of which every capitalised name is a class that records; other names are functions that do."""

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "Transition":
            return types.SimpleNamespace(TRANSITION_CONFIGURE=1, TRANSITION_ACTIVATE=3)
        return lambda *args, **options: Recorded(name, args, options)


MODULES = (
    "ament_index_python", "ament_index_python.packages", "launch", "launch.actions", "launch.conditions", "launch.events",
    "launch.event_handlers", "launch.launch_description_sources", "launch.substitutions", "launch_ros",
    "launch_ros.actions", "launch_ros.event_handlers", "launch_ros.events", "launch_ros.events.lifecycle",
    "launch_ros.parameter_descriptions", "lifecycle_msgs", "lifecycle_msgs.msg",
)  # fmt: skip


def load(name: str):
    """Import a launch file as a module."""
    spec = importlib.util.spec_from_file_location(name.replace(".", "_"), ROOT / "launch" / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def recorded(monkeypatch):
    """Load a launch file against the recorder; returns its entities, those made once the arguments are known too."""
    for name in MODULES:
        monkeypatch.setitem(sys.modules, name, Recorder(name))
    sys.modules["ament_index_python.packages"].get_package_share_directory = lambda package: f"/share/{package}"

    def run(name: str, **arguments: str) -> list[Recorded]:
        entities: list[Recorded] = []
        for entity in load(name).generate_launch_description().args[0]:
            if entity.name == "OpaqueFunction":
                declared = of_kind(entities, "DeclareLaunchArgument")
                context = {one.args[0]: one.options.get("default_value") for one in declared}
                entities += entity.options["function"]({**context, **arguments})
            else:
                entities.append(entity)
        return entities

    return run


def of_kind(entities: list[Recorded], *names: str) -> list[Recorded]:
    """Entities made by one of these classes."""
    return [entity for entity in entities if entity.name in names]


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_every_argument_is_described(recorded, name):
    """--show-args explains every argument."""
    arguments = of_kind(recorded(name), "DeclareLaunchArgument")
    assert arguments
    assert all(len(argument.options["description"]) > 10 for argument in arguments)


def test_monitor_starts_our_executables_with_declared_parameters(recorded):
    """Both nodes are ours, named as their topics expect, and are given only parameters that they declare."""
    nodes = {
        node.options["executable"]: node.options
        for node in of_kind(recorded("monitor.launch.py"), "Node", "LifecycleNode")
    }
    entry_points = (ROOT / "setup.py").read_text(encoding="utf-8")
    for executable, declared in (("perception_node", PERCEPTION), ("supervisor_node", SUPERVISOR)):
        options = nodes[executable]
        assert options["package"] == "ls_ood_monitor"
        assert options["name"] == executable
        assert f"{executable} =" in entry_points
        given = {key for part in options["parameters"] if isinstance(part, dict) for key in part}
        assert given <= set(declared) | {"use_sim_time"}
    assert nodes["supervisor_node"]["remappings"] == [("ood_alarm", "perception_node/ood_alarm")]


def overrides(entities: list[Recorded]) -> dict[str, dict]:
    """What the launch file sets beside the parameter file, per executable."""
    nodes = of_kind(entities, "Node", "LifecycleNode")
    return {
        node.options["executable"]: {
            key: value for part in node.options["parameters"] if isinstance(part, dict) for key, value in part.items()
        }
        for node in nodes
    }


def test_arguments_that_were_not_given_leave_the_parameter_file_alone(recorded):
    """A file that names four cameras is not overridden by the default of an argument; a given argument does override."""
    nodes = overrides(recorded("monitor.launch.py"))
    assert set(nodes["perception_node"]) == {"autostart"}
    assert set(nodes["supervisor_node"]) == set()
    given = {"cameras": "[front, left]", "bundle": "/b", "device": "cpu", "transport": "raw", "use_sim_time": "true"}
    nodes = overrides(recorded("monitor.launch.py", **given))
    assert {"cameras", "bundle_path", "device", "transport", "use_sim_time"} <= set(nodes["perception_node"])
    assert nodes["supervisor_node"]["cameras"].args[0].args == ("cameras",)


def test_monitor_is_not_rearmed_after_a_manual_deactivate(recorded):
    """The activating handler listens only to the way from configuring to inactive."""
    handlers = [entity.args[0] for entity in of_kind(recorded("monitor.launch.py"), "RegisterEventHandler")]
    activating = of_kind(handlers, "OnStateTransition")
    assert [(one.options["start_state"], one.options["goal_state"]) for one in activating] == [
        ("configuring", "inactive")
    ]


def test_monitor_sets_the_profile_for_large_images(recorded, monkeypatch):
    """The shared-memory profile reaches both generations of Fast DDS, before any node starts; an integrator's own stays."""
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/own.xml")
    monkeypatch.delenv("FASTDDS_DEFAULT_PROFILES_FILE", raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    entities = recorded("monitor.launch.py")
    variables = {entity.args[0]: entity.args[1] for entity in of_kind(entities, "SetEnvironmentVariable")}
    assert set(variables) == {"FASTDDS_DEFAULT_PROFILES_FILE", "OMP_WAIT_POLICY"}
    assert variables["FASTDDS_DEFAULT_PROFILES_FILE"].endswith("config/fastdds_large_images.xml")
    names = [entity.name for entity in entities]
    assert max(i for i, n in enumerate(names) if n == "SetEnvironmentVariable") < names.index("LifecycleNode")


def test_a_replay_lives_in_the_recordings_time_and_waits_for_perception(recorded):
    """Both nodes take their time from the player's clock, and it begins once, when perception is active, not by a guess."""
    entities = recorded("replay.launch.py")
    (monitor, _rviz) = of_kind(entities, "IncludeLaunchDescription")
    assert dict(monitor.options["launch_arguments"]) == {"use_sim_time": "true"}
    assert monitor.args[0].args[0].endswith("monitor.launch.py")
    (handler,) = (entity.args[0] for entity in of_kind(entities, "RegisterEventHandler"))
    assert (handler.name, handler.options["goal_state"], handler.options["handle_once"]) == (
        "OnStateTransition", "active", True,
    )  # fmt: skip
    (player,) = handler.options["entities"]
    command = [word.args[0] if isinstance(word, Recorded) else word for word in player.options["cmd"]]
    assert command == ["ros2", "bag", "play", "bag", "--clock", "100", "--delay", "start_delay", "--rate", "rate"]
    names = [entity.name for entity in entities]
    assert names.index("RegisterEventHandler") < names.index("IncludeLaunchDescription")


def test_parameter_file_states_the_defaults():
    """monitor.yaml names every parameter of both nodes, with its default value, and no other."""
    content = yaml.safe_load((ROOT / "config" / "monitor.yaml").read_text(encoding="utf-8"))
    for node, declared in (("/**/perception_node", PERCEPTION), ("/**/supervisor_node", SUPERVISOR)):
        defaults = {
            name: list(spec.default) if isinstance(spec.default, tuple) else spec.default
            for name, spec in declared.items()
        }
        assert content[node]["ros__parameters"] == defaults


def test_rviz_shows_what_the_node_publishes():
    """Every display is an image display of a topic that perception_node has, with a reliability it offers."""
    content = yaml.safe_load((ROOT / "config" / "monitor.rviz").read_text(encoding="utf-8"))
    displays = content["Visualization Manager"]["Displays"]
    assert displays
    for display in displays:
        assert display["Class"] == "rviz_default_plugins/Image"
        node, camera, picture = display["Topic"]["Value"].strip("/").split("/")
        assert (node, camera) == ("perception_node", "front")
        assert picture in ("overlay", "segmentation", "confidence", "anomaly_map")
        assert display["Topic"]["Reliability Policy"] in ("Reliable", "Best Effort")


def test_fast_dds_profile_is_large_enough():
    """The profile is well-formed and its shared memory holds several 1920x1080 images."""
    root = ElementTree.parse(ROOT / "config" / "fastdds_large_images.xml").getroot()
    space = {"dds": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    segment = int(root.findtext(".//dds:segment_size", namespaces=space))
    assert segment >= 4 * 1920 * 1080 * 3
    assert int(root.findtext(".//dds:maxMessageSize", namespaces=space)) >= 1920 * 1080 * 3
    assert root.findtext(".//dds:useBuiltinTransports", namespaces=space) == "false"


@pytest.mark.parametrize("name", LAUNCH_FILES)
def test_real_launch_loads_it(name):
    """With a ROS distribution at hand the real packages accept the file (skipped where launch is not installed)."""
    pytest.importorskip("launch_ros", reason="launch comes with a ROS distribution, not from pip")
    from ament_index_python.packages import PackageNotFoundError

    try:
        description = load(name).generate_launch_description()
    except PackageNotFoundError:
        pytest.skip("ls_ood_monitor is not in the ament index; source the workspace")
    assert description.entities
