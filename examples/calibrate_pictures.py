"""A bundle from a folder of clean pictures: python calibrate_pictures.py FOLDER OUT RATE_HZ"""

import sys

import ls_ood_monitor as ood

folder, out, rate_hz = sys.argv[1:]
monitor = ood.calibrate(folder, out, target_rate=0.05, rate_hz=float(rate_hz), block_s=2.0)
print(monitor)
print(monitor.thresholds[monitor.detector].method)
