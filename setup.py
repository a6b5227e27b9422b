"""Build for pip and for colcon (ament_python)."""

from __future__ import annotations

import re
import sys
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

NAME = "ls_ood_monitor"
HERE = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """Requirement lines of requirements/<name>.txt, the one place that states them."""
    lines = (HERE / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


VERSION = re.search(r'__version__ = "(.+)"', (HERE / NAME / "__init__.py").read_text(encoding="utf-8"))[1]

#: colcon puts the executables into lib/, where 'ros2 run' looks; a shell looks into bin/.
IS_COLCON = "--single-version-externally-managed" in sys.argv

setup(
    name=NAME,
    version=VERSION,
    description="Out-of-distribution monitor for the cameras of a vehicle",
    license="MIT",
    maintainer="ls_ood_monitor maintainers",
    maintainer_email="maintainers@ls-ood-monitor.example.com",
    packages=find_packages(include=[f"{NAME}*"]),
    package_data={NAME: ["bundles/*/*", "py.typed"]},
    python_requires=">=3.10",
    install_requires=requirements("run"),
    extras_require={
        name: requirements(name) for name in ("ros", "test", "train", "cluster", "export", "video", "bench")
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", glob("launch/*.launch.py")),
        (f"share/{NAME}/config", glob("config/*.*")),
        (f"share/{NAME}/config/examples", glob("config/examples/*.*")),
        *([("bin", ["resource/ls-ood"])] if IS_COLCON else []),
    ],
    entry_points={
        "console_scripts": [
            f"ls-ood = {NAME}.cli.main:main",
            f"perception_node = {NAME}.ros.executables:perception_node",
            f"supervisor_node = {NAME}.ros.executables:supervisor_node",
            f"rviz_status = {NAME}.ros.executables:rviz_status",
        ]
    },
    zip_safe=False,
)
