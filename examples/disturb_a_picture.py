"""Every synthetic anomaly at one severity, as files: python disturb_a_picture.py PICTURE OUT SEVERITY"""

import sys
from pathlib import Path

import cv2

import ls_ood_monitor as ood
from ls_ood_monitor.anomalies import ANOMALIES, apply_anomaly

picture, out, severity = sys.argv[1:]
Path(out).mkdir(exist_ok=True)
image = ood.read_picture(picture)
for name in ANOMALIES:
    cv2.imwrite(f"{out}/{name}.png", apply_anomaly(name, image, int(severity), seed=0))
