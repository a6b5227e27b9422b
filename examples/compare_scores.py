"""The scores of all detectors of a bundle on a picture and on a disturbed copy: python compare_scores.py PICTURE [BUNDLE]"""

import sys

import ls_ood_monitor as ood
from ls_ood_monitor.anomalies import apply_anomaly

picture, *bundle = sys.argv[1:]
monitor = ood.load_bundle(*bundle)
clean = ood.read_picture(picture)
before = monitor.predict(clean).result.scores
after = monitor.predict(apply_anomaly("fog", clean, severity=3, seed=0)).result.scores
for name, threshold in monitor.thresholds.items():
    print(f"{name}: {before[name]:.3g} -> {after[name]:.3g}, threshold {threshold.value:.3g}")
