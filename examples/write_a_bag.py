"""Pictures of a folder as a ROS 2 bag of one camera: python write_a_bag.py FOLDER BAG RATE_HZ"""

import sys
from pathlib import Path

import ls_ood_monitor as ood
from ls_ood_monitor.recordings.bags import FrameBagWriter

folder, bag, rate_hz = sys.argv[1:]
with FrameBagWriter(bag, "mcap") as writer:
    for index, path in enumerate(sorted(Path(folder).iterdir())):
        writer.write("front", ood.read_picture(path), 10**18 + round(index * 1e9 / float(rate_hz)))
