"""Launch and configuration files.

``launch`` and ``launch_ros`` come with a ROS distribution, not from pip. Where they are installed the launch files are
really loaded; everywhere, a recorder stands in for both packages to read what the files declare.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import signal
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
from ls_ood_monitor.errors import MonitorError
from ls_ood_monitor.launch_arguments import refuse_unknown

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
        self.kind, self.args, self.options = name, args, options
        # Real arguments have a name of their own.
        self.name = args[0] if name == "DeclareLaunchArgument" else name

    def perform(self, context: dict[str, str]) -> str:
        """What a LaunchConfiguration does: look its argument up."""
        default = self.options.get("default")
        return context[self.args[0]] if default is None else context.get(self.args[0], default)


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
    "launch.events.process", "launch.event_handlers", "launch.launch_description_sources", "launch.substitutions", "launch_ros",
    "launch_ros.actions", "launch_ros.event_handlers", "launch_ros.events", "launch_ros.events.lifecycle",
    "launch_ros.parameter_descriptions", "lifecycle_msgs", "lifecycle_msgs.msg",
)  # fmt: skip


def load_constant(name: str, constant: str):
    """A constant of a launch file, read without any of what it imports."""
    tree = ast.parse((ROOT / "launch" / name).read_text(encoding="utf-8"))
    values = (node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == constant)
    return ast.literal_eval(next(values))


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
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/bin/{program}")
    sys.modules["ament_index_python.packages"].get_package_share_directory = lambda package: str(ROOT)

    def run(name: str, bag: str = str(ROOT), **arguments: str) -> list[Recorded]:
        entities: list[Recorded] = []
        for entity in load(name).generate_launch_description().args[0]:
            if entity.name == "OpaqueFunction":
                declared = of_kind(entities, "DeclareLaunchArgument")
                context = {argument.args[0]: argument.options.get("default_value") for argument in declared}
                options = entity.options
                entities += options["function"]({**context, "bag": bag, **arguments}, *options.get("args", ()))
            else:
                entities.append(entity)
        return entities

    return run


def of_kind(entities: list[Recorded], *names: str) -> list[Recorded]:
    """Entities made by one of these classes."""
    return [entity for entity in entities if entity.kind in names]


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
    assert nodes["supervisor_node"]["cameras"] == ["front", "left"]


def nodes_of(entities: list[Recorded]) -> dict[str, dict]:
    """Options of each node by its executable."""
    return {node.options["executable"]: node.options for node in of_kind(entities, "Node", "LifecycleNode")}


def test_monitor_activates_perception_once_and_never_again(recorded):
    """Perception starts itself; no event handler could activate it again after a bundle was exchanged by hand."""
    entities = recorded("monitor.launch.py")
    assert of_kind(entities, "RegisterEventHandler") == []
    assert overrides(entities)["perception_node"]["autostart"] is True
    assert overrides(recorded("monitor.launch.py", autostart="False"))["perception_node"]["autostart"] is False


@pytest.mark.parametrize(
    ("distribution", "name"), [("humble", "FASTRTPS"), ("jazzy", "FASTRTPS"), ("kilted", "FASTDDS"), (None, "FASTDDS")]
)
def test_monitor_sets_the_profile_for_large_images(recorded, monkeypatch, distribution, name):
    """The shared-memory profile reaches both nodes, by the name of each generation of Fast DDS, and no other process."""
    for variable in (
        "ROS_DISTRO",
        "FASTRTPS_DEFAULT_PROFILES_FILE",
        "FASTDDS_DEFAULT_PROFILES_FILE",
        "OMP_WAIT_POLICY",
    ):
        monkeypatch.delenv(variable, raising=False)
    if distribution:
        monkeypatch.setenv("ROS_DISTRO", distribution)
    entities = recorded("monitor.launch.py")
    assert of_kind(entities, "SetEnvironmentVariable") == []
    for options in nodes_of(entities).values():
        variables = options["additional_env"]
        assert set(variables) == {f"{name}_DEFAULT_PROFILES_FILE", "OMP_WAIT_POLICY"}
        assert Path(variables[f"{name}_DEFAULT_PROFILES_FILE"]).is_file()


def test_an_integrators_own_environment_stays(recorded, monkeypatch):
    """A profile that is set already is not replaced."""
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/own.xml")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert all(options["additional_env"] == {} for options in nodes_of(recorded("monitor.launch.py")).values())


@pytest.mark.parametrize(
    ("given", "cameras"),
    [("front", ["front"]), ("[front]", ["front"]), ("front, left", ["front", "left"]), ("['a', b]", ["a", "b"])],
)
def test_cameras_with_and_without_brackets(recorded, given, cameras):
    """One camera needs none."""
    nodes = overrides(recorded("monitor.launch.py", cameras=given))
    assert nodes["perception_node"]["cameras"] == nodes["supervisor_node"]["cameras"] == cameras


@pytest.mark.parametrize("given", ["True", "true", "TRUE", "yes"])
def test_simulated_time_in_any_spelling(recorded, given):
    """Bring-ups of Nav2 pass True."""
    nodes = overrides(recorded("monitor.launch.py", use_sim_time=given))
    assert nodes["perception_node"]["use_sim_time"] is nodes["supervisor_node"]["use_sim_time"] is True


def test_each_camera_may_have_a_topic_of_its_own(recorded):
    """The given topic takes the place of the one that perception subscribes to, raw or compressed."""
    given = {"cameras": "[front, left]", "camera_topics": "[/a/image_raw, /b/image_raw]"}
    nodes = nodes_of(recorded("monitor.launch.py", **given))
    assert nodes["perception_node"]["remappings"] == [
        ("front/image", "/a/image_raw"),
        ("left/image", "/b/image_raw"),
    ]
    given |= {"transport": "compressed", "camera_topics": "[/a/image_raw/compressed, /b/x]"}
    nodes = nodes_of(recorded("monitor.launch.py", **given))
    assert nodes["perception_node"]["remappings"][0] == ("front/image/compressed", "/a/image_raw/compressed")


def test_a_node_that_ends_is_started_again_or_ends_the_launch(recorded):
    """By respawn and required; neither by default."""
    for options in nodes_of(recorded("monitor.launch.py")).values():
        assert (options["respawn"], options["on_exit"]) == (False, [])
    for options in nodes_of(recorded("monitor.launch.py", respawn="true", required="true")).values():
        assert options["respawn"] is True
        assert [action.name for action in options["on_exit"]] == ["Shutdown"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"params_file": "/absent.yaml"}, "params_file is '/absent.yaml', which is no file"),
        ({"use_sim_time": "maybe"}, "use_sim_time is 'maybe'; it must be true or false"),
        ({"cameras": "[1, 2]"}, "cameras is '[1, 2]'; it must be a name, or names in brackets"),
        ({"cameras": "[front, left]", "camera_topics": "/a/image"}, "camera_topics has 1 topics for 2 cameras"),
    ],
)
def test_arguments_that_cannot_work_end_the_launch_in_words(recorded, arguments, sentence):
    """Before a node starts."""
    with pytest.raises((RuntimeError, MonitorError), match=re.escape(sentence)):
        recorded("monitor.launch.py", **arguments)


def test_a_misspelt_argument_is_refused(recorded, monkeypatch):
    """ros2 launch ignores it; a launch file that includes ours may have arguments of its own."""
    command = ["ros2", "launch", "ls_ood_monitor", "monitor.launch.py", "bundel:=/x"]
    with pytest.raises(MonitorError, match="has no argument 'bundel'; did you mean bundle"):
        refuse_unknown("monitor.launch.py", ["bundle", "cameras"], command)
    refuse_unknown("monitor.launch.py", ["bundle"], ["ros2", "launch", "vehicle", "bringup.launch.py", "bundel:=/x"])
    for name in LAUNCH_FILES[:2]:
        given = [argument.name for argument in of_kind(recorded(name), "DeclareLaunchArgument")]
        refuse_unknown(name, given, [name, *(f"{argument}:=x" for argument in given)])


@pytest.fixture
def bag(tmp_path) -> Path:
    """What a replay looks at: a recording's list of topics, those of an earlier run's alarms among them."""
    names = ("/front/image", "/left/image", "/car/front/image/compressed", "/perception_node/ood_alarm")
    held = [{"topic_metadata": {"name": name}, "message_count": 1} for name in names]
    (tmp_path / "metadata.yaml").write_text(
        yaml.safe_dump({"rosbag2_bagfile_information": {"topics_with_message_count": held}})
    )
    return tmp_path


def handlers_of(entities: list[Recorded]) -> list[Recorded]:
    """Event handlers, in order."""
    return [entity.args[0] for entity in of_kind(entities, "RegisterEventHandler")]


def test_a_replay_lives_in_the_recordings_time_and_waits_for_perception(recorded, bag):
    """Both nodes take their time from the player's clock, and it begins once, when perception is active, not by a guess."""
    entities = recorded("replay.launch.py", bag=str(bag))
    (monitor, _rviz) = of_kind(entities, "IncludeLaunchDescription")
    assert dict(monitor.options["launch_arguments"]) == {"use_sim_time": "true"}
    assert monitor.args[0].args[0].endswith("monitor.launch.py")
    handler, _end = handlers_of(entities)
    assert (handler.name, handler.options["goal_state"], handler.options["handle_once"]) == (
        "OnStateTransition", "active", True,
    )  # fmt: skip
    (player,) = handler.options["entities"]
    assert player.options["cmd"] == [
        "ros2", "bag", "play", str(bag), "--clock", "100", "--delay", "2.0", "--rate", "1.0", "--topics", "/front/image",
    ]  # fmt: skip
    names = [entity.name for entity in entities]
    assert names.index("RegisterEventHandler") < names.index("IncludeLaunchDescription")


@pytest.mark.parametrize(
    ("arguments", "topics"),
    [
        ({"cameras": "[front, left]"}, ["/front/image", "/left/image"]),
        ({"transport": "compressed", "namespace": "/car"}, ["/car/front/image/compressed"]),
        ({"topics": "[/left/image, /tf]", "cameras": "[front]"}, ["/left/image", "/tf"]),
        ({"topics": "/left/image"}, ["/left/image"]),
        ({"params_file": "own.yaml"}, ["/left/image"]),
    ],
)
def test_a_replay_plays_the_images_of_the_cameras_alone(recorded, bag, monkeypatch, arguments, topics):
    """Recorded alarms must not speak beside the live ones; cameras are those of the arguments, else of the parameter file."""
    monkeypatch.chdir(bag)
    Path("own.yaml").write_text("/**/perception_node: {ros__parameters: {cameras: [left], transport: raw}}")
    handler, _end = handlers_of(recorded("replay.launch.py", bag=str(bag), **arguments))
    command = handler.options["entities"][0].options["cmd"]
    assert command[command.index("--topics") + 1 :] == topics
    assert "--loop" not in command


def test_a_replay_begins_again_if_asked(recorded, bag):
    """The player's own loop, with every topic still chosen."""
    handler, _end = handlers_of(recorded("replay.launch.py", bag=str(bag), loop="true"))
    assert handler.options["entities"][0].options["cmd"][-3:] == ["--loop", "--topics", "/front/image"]


def test_a_replay_records_until_the_last_verdict(recorded, bag, tmp_path):
    """The recorder begins before the player, in its time, and gets SIGINT some time after it."""
    begin, end = handlers_of(recorded("replay.launch.py", bag=str(bag), record=str(tmp_path / "answers")))
    recorder, player = begin.options["entities"]
    command = recorder.options["cmd"]
    assert command[:5] == ["ros2", "bag", "record", "--output", str(tmp_path / "answers")]
    assert "--use-sim-time" in command
    assert (end.name, end.options["target_action"]) == ("OnProcessExit", player)
    (timer,) = end.options["on_exit"](types.SimpleNamespace(returncode=0), None)
    assert timer.options["period"] >= 1.0
    interrupt, shutdown = timer.options["actions"]
    assert interrupt.options["event"].options["signal_number"] is signal.SIGINT
    assert interrupt.options["event"].options["process_matcher"].args == (recorder,)
    assert shutdown.kind == "Shutdown"


def test_a_replay_ends_with_its_recording_unless_rviz_is_open(recorded, bag):
    """A player that fails ends the launch as an error, so that a build server notices."""
    ended, failed = types.SimpleNamespace(returncode=0), types.SimpleNamespace(returncode=1)
    _, end = handlers_of(recorded("replay.launch.py", bag=str(bag)))
    (timer,) = end.options["on_exit"](ended, None)
    assert [action.kind for action in timer.options["actions"]] == ["Shutdown"]
    with pytest.raises(RuntimeError, match="ros2 bag play ended with exit code 1"):
        end.options["on_exit"](failed, None)
    _, end = handlers_of(recorded("replay.launch.py", bag=str(bag), rviz="true"))
    assert end.options["on_exit"](ended, None) == []


def test_a_replay_without_ros2_is_refused(recorded, bag, monkeypatch):
    """The command plays the bag."""
    monkeypatch.setattr("shutil.which", lambda program: None)
    with pytest.raises(RuntimeError, match="there is no ros2 command"):
        recorded("replay.launch.py", bag=str(bag))


@pytest.mark.ros
def test_a_replay_records_what_the_player_command_records():
    """Outputs of both nodes in any namespace, as 'ls-ood play --record' does, and neither images nor other nodes' topics."""
    outputs = load_constant("replay.launch.py", "OUTPUTS")
    pytest.importorskip("rclpy")
    from ls_ood_monitor.ros.output_recorder import OUTPUTS

    places = {name: "supervisor_node/" if name in ("state", "stop") else "perception_node/" for name in OUTPUTS}
    places.update(ood_score="perception_node/front/", diagnostics="")
    for name in OUTPUTS:
        assert re.search(outputs, f"/{places[name]}{name}")
        assert re.search(outputs, f"/car/{places[name]}{name}")
    for topic in ("/front/image", "/perception_node/front/overlay", "/arm/state", "/supervisor_node/stop/x", "/clock"):
        assert not re.search(outputs, topic)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"bag": "/absent"}, "bag is '/absent', which does not exist"),
        ({"record": "."}, "record is '.', which exists already"),
        ({"record": "absent/answers"}, "its parent folder does not exist"),
        ({"cameras": "[rear]"}, "has no /rear/image; it holds /front/image, /left/image"),
        ({"cameras": "[1st]"}, "camera name '1st' does not fit into a topic"),
        ({"params_file": "absent.yaml"}, "absent.yaml cannot be read"),
    ],
)
def test_a_replay_that_cannot_work_is_refused_before_a_node_starts(recorded, bag, monkeypatch, arguments, sentence):
    """One sentence, from which launch makes its error."""
    monkeypatch.chdir(bag)
    with pytest.raises((RuntimeError, MonitorError), match=re.escape(sentence)):
        recorded("replay.launch.py", **{"bag": str(bag), **arguments})


def test_parameter_file_states_the_defaults():
    """monitor.yaml names every parameter of both nodes, with its default value, and no other."""
    content = yaml.safe_load((ROOT / "config" / "monitor.yaml").read_text(encoding="utf-8"))
    for node, declared in (("/**/perception_node", PERCEPTION), ("/**/supervisor_node", SUPERVISOR)):
        defaults = {
            name: list(spec.default) if isinstance(spec.default, tuple) else spec.default
            for name, spec in declared.items()
        }
        assert content[node]["ros__parameters"] == defaults


def test_rviz_shows_what_the_nodes_publish():
    """Every picture is one that perception_node has, and the texts are those of the node that is started beside RViz."""
    content = yaml.safe_load((ROOT / "config" / "monitor.rviz").read_text(encoding="utf-8"))
    displays = content["Visualization Manager"]["Displays"]
    topics = {kind: [] for kind in ("Image", "MarkerArray")}
    for display in displays:
        topics[display["Class"].removeprefix("rviz_default_plugins/")].append(display["Topic"]["Value"])
        assert display["Topic"]["Reliability Policy"] in ("Reliable", "Best Effort")
    assert topics["MarkerArray"] == ["/rviz_status/markers"]
    for topic in topics["Image"]:
        node, camera, picture = topic.strip("/").split("/")
        assert (node, camera) == ("perception_node", "front")
        assert picture in ("overlay", "segmentation", "confidence", "anomaly_map")


def test_rviz_is_started_with_the_node_that_writes_its_texts(recorded):
    """It runs as a module of ours, under the name of the topic that RViz reads, in RViz's fixed frame."""
    entities = recorded("rviz.launch.py")
    status, rviz = of_kind(entities, "Node")
    assert rviz.options["package"] == "rviz2"
    assert status.options["executable"] == sys.executable
    flag, module = status.options["arguments"]
    assert flag == "-m"
    assert importlib.util.find_spec(module) is not None
    assert status.options["name"] == "rviz_status"
    frame = next(entity for entity in of_kind(entities, "DeclareLaunchArgument") if entity.args[0] == "frame_id")
    content = yaml.safe_load((ROOT / "config" / "monitor.rviz").read_text(encoding="utf-8"))
    assert frame.options["default_value"] == content["Visualization Manager"]["Global Options"]["Fixed Frame"]


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
