"""What each folder may import, and which modules start without heavy packages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ls_ood_monitor

PACKAGE = Path(ls_ood_monitor.__file__).parent
ROOT = Path(__file__).parents[1]
MODULES = sorted(PACKAGE.rglob("*.py"))

ROS_PACKAGES = {
    "rclpy", "cv_bridge", "sensor_msgs", "std_msgs", "std_srvs", "diagnostic_msgs", "lifecycle_msgs", "rcl_interfaces",
    "builtin_interfaces", "rosgraph_msgs", "geometry_msgs", "nav2_msgs", "vision_msgs", "visualization_msgs", "launch",
    "launch_ros",
}  # fmt: skip


def layer_of(path: Path) -> str:
    """Top-level name of a module within the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Dotted names imported anywhere in a module, relative ones made absolute."""
    package = ["ls_ood_monitor", *path.relative_to(PACKAGE).parent.parts]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            names |= {prefix} | {f"{prefix}.{alias.name}" for alias in node.names}
    return names


def external_imports(path: Path) -> set[str]:
    """Top-level names of foreign packages a module imports."""
    return {name.split(".")[0] for name in imports_of(path)} - {"ls_ood_monitor", ""}


def test_the_import_contracts_hold():
    """Layers, and what must stay out of them, are stated once: in pyproject.toml, for import-linter."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_every_folder_has_its_layer():
    """A new top-level module or folder must be placed in the layers."""
    named = set(re.findall(r"ls_ood_monitor\.(\w+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    assert {layer_of(path) for path in MODULES} <= named | {"__init__", "bundles"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_foreign_packages_stay_in_their_folder(path):
    """ROS stays in ros/ and where a command starts it, rosbags where bags are read or written, torch out of the core."""
    layer, foreign = layer_of(path), external_imports(path)
    if layer != "ros":
        allowed = {"rclpy"} if layer == "cli" else set()  # demo and play start and stop rclpy around ros/'s nodes
        assert not (foreign & ROS_PACKAGES) - allowed
    relative = path.relative_to(PACKAGE).as_posix()
    if not relative.startswith("recordings/bags/") and relative != "ros/raw_bag.py":
        assert "rosbags" not in foreign
    if layer in ("core", "config", "errors"):
        assert not foreign & {"torch", "torchvision", "cv2", "safetensors"}
    if layer != "cli":
        assert not foreign & {"argparse", "rich"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_calls_stay_in_their_folder(path):
    """Nobody prints; the core has neither clock nor files; no library code asserts."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert "print" not in called
    if layer_of(path) == "core":
        assert "open" not in called
        assert not external_imports(path) & {"time", "datetime", "pathlib", "os"}


def modules_after(statement: str) -> set[str]:
    """Names of the modules that a fresh process holds after a statement."""
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_imports_nothing_heavy():
    """``import ls_ood_monitor`` brings in neither numpy nor torch nor ROS."""
    assert not modules_after("import ls_ood_monitor") & {"numpy", "torch", "cv2", "rclpy", "scipy", "sklearn"}


@pytest.mark.ros
def test_the_supervisor_starts_without_torch():
    """The safety path loads neither torch nor OpenCV, and no tables."""
    pytest.importorskip("rclpy")
    loaded = modules_after("import ls_ood_monitor.ros.supervisor_node")
    assert "rclpy" in loaded
    assert not loaded & {"torch", "torchvision", "cv2", "polars"}


@pytest.mark.ros
def test_perception_starts_without_rosbags_and_polars():
    """Who records no evidence loads nothing for it, and tables are for evaluations."""
    pytest.importorskip("rclpy")
    assert not modules_after("import ls_ood_monitor.ros.perception_node") & {"rosbags", "polars"}
