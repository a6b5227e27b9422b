"""The package as colcon and pip see it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ls_ood_monitor

ROOT = Path(ls_ood_monitor.__file__).parents[1]
if not (ROOT / "package.xml").exists():
    pytest.skip("runs on a checkout", allow_module_level=True)


def test_package_xml_is_valid():
    """catkin_pkg accepts it without a warning; an invalid one would make colcon fall back in silence."""
    package = pytest.importorskip("catkin_pkg.package").parse_package(ROOT / "package.xml")
    package.validate()
    assert package.name == "ls_ood_monitor"
    assert package.package_format == 3
    assert package.licenses == ["MIT"]
    assert package.get_build_type() == "ament_python"


#: Imported only where it is asked for, and named by the error if it is missing: who uses Nav2 or RViz has it.
ON_REQUEST = {"nav2_msgs", "visualization_msgs"}


def test_every_ros_import_is_declared():
    """Each ROS package that ros/ imports is an exec_depend, unless it is only wanted on request."""
    package = pytest.importorskip("catkin_pkg.package").parse_package(ROOT / "package.xml")
    declared = {depend.name for depend in package.exec_depends}
    used = set()
    for path in (*(ROOT / "ls_ood_monitor" / "ros").glob("*.py"), *(ROOT / "launch").glob("*.py")):
        used |= set(
            re.findall(
                r"^\s*(?:from|import) ((?:\w+_msgs|std_srvs|\w+_interfaces|rclpy|cv_bridge|launch|launch_ros))\b",
                path.read_text(encoding="utf-8"),
                re.MULTILINE,
            )
        )
    assert used
    assert used - ON_REQUEST <= declared


def test_one_version():
    """Package, manifest and changelog agree."""
    version = ls_ood_monitor.__version__
    assert f"<version>{version}</version>" in (ROOT / "package.xml").read_text(encoding="utf-8")
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_workspace_links_to_the_package():
    """ros2_ws/src/ls_ood_monitor is a relative link to the repository."""
    link = ROOT / "ros2_ws" / "src" / "ls_ood_monitor"
    assert link.is_symlink()
    assert str(link.readlink()) == "../.."


def test_no_file_is_too_large():
    """Every tracked file stays under 15 MB and the tree under 50 MB."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    sizes = [
        (ROOT / name).stat().st_size for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()
    ]
    assert max(sizes) < 15_000_000
    assert sum(sizes) < 50_000_000


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """A copy of the workspace, so that colcon leaves no traces in the tree."""
    base = tmp_path_factory.mktemp("checkout")
    for name in ("config", "launch", "ls_ood_monitor", "requirements", "resource", "ros2_ws", "test"):
        ignore = shutil.ignore_patterns("__pycache__", "build", "install", "log")
        shutil.copytree(ROOT / name, base / name, symlinks=True, ignore=ignore)
    for name in ("package.xml", "setup.py", "setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, base / name)
    return base / "ros2_ws"


def colcon(workspace: Path, *arguments: str) -> str:
    """Run colcon in the workspace; returns what it prints."""
    pytest.importorskip("colcon_core")
    command = [str(Path(sys.executable).with_name("colcon")), *arguments]
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_colcon_lists_an_ament_python_package(workspace):
    """``colcon list`` says (ros.ament_python), once."""
    lines = colcon(workspace, "list").split("\n")
    assert [line.split()[-1] for line in lines if line.startswith("ls_ood_monitor")] == ["(ros.ament_python)"]


def test_colcon_build_installs_executables_launch_and_config(workspace):
    """After ``colcon build`` everything ros2 run and ros2 launch look for is in its place."""
    colcon(workspace, "build")
    prefix = workspace / "install" / "ls_ood_monitor"
    for name in ("perception_node", "supervisor_node", "ls-ood"):
        assert (prefix / "lib" / "ls_ood_monitor" / name).is_file()
    share = prefix / "share" / "ls_ood_monitor"
    for name in (
        "package.xml",
        "launch/monitor.launch.py",
        "launch/replay.launch.py",
        "launch/rviz.launch.py",
        "config/monitor.yaml",
        "config/monitor.rviz",
        "config/fastdds_large_images.xml",
        *(f"config/examples/{path.name}" for path in (ROOT / "config" / "examples").iterdir()),
    ):
        assert (share / name).is_file(), name
    assert (prefix / "share" / "ament_index" / "resource_index" / "packages" / "ls_ood_monitor").is_file()
    assert list(prefix.rglob("bundles/street/manifest.json"))
    help_text = subprocess.run(
        [prefix / "lib" / "ls_ood_monitor" / "ls-ood", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "calibrate" in help_text
    setup = workspace / "install" / "setup.bash"
    command = ["bash", "-c", f"source {setup} && command -v ls-ood"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == str(
        prefix / "bin" / "ls-ood"
    )


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_links_lead_somewhere(page):
    """Every relative link and picture of the README and the docs is there."""
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
