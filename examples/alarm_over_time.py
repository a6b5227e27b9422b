"""The vehicle's alarm over the frames of one camera: python alarm_over_time.py BAG CAMERA [BUNDLE]"""

import sys

import ls_ood_monitor as ood
from ls_ood_monitor.core.alarm import AlarmFilter
from ls_ood_monitor.recordings.bags import iter_frames
from ls_ood_monitor.wording import sentence

bag, camera, *bundle = sys.argv[1:]
monitor = ood.load_bundle(*bundle)
alarm_filter = AlarmFilter(monitor.alarm, camera, monitor.lasting_levels)
state = None
for frame in iter_frames(bag):
    if frame.camera == camera:
        score = monitor.process([frame])[0].score
        alarm = alarm_filter.update(frame.stamp_ns, score, monitor.threshold)
        if alarm.state is not state:
            state = alarm.state
            print(f"{frame.stamp_ns / 1e9:.3f} s: {state.value}, {sentence(alarm.cause)}")
