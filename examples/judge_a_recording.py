"""Judge every frame of a bag, without an alarm over time: python judge_a_recording.py BAG [BUNDLE]"""

import sys

import ls_ood_monitor as ood
from ls_ood_monitor.recordings.bags import iter_frames

bag, *bundle = sys.argv[1:]
monitor = ood.load_bundle(*bundle)
for frame in iter_frames(bag):
    result = monitor.process([frame])[0]
    print(f"{frame.camera} {frame.stamp_ns / 1e9:.3f} s: {result.score:.2f} of {result.threshold:.2f}")
