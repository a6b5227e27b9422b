"""A detector on features of your own, with an interval for its detection rate: python your_own_features.py"""

import numpy as np

import ls_ood_monitor as ood
from ls_ood_monitor.core.intervals import wilson_interval

random = np.random.default_rng(0)
clean, unseen, shifted = random.normal(size=(400, 8)), random.normal(size=(200, 8)), random.normal(2.0, 1.0, (200, 8))
detector = ood.detectors.MahalanobisDetector().fit(clean)
threshold = np.quantile(detector.score(unseen), 0.95)
hits = int((detector.score(shifted) > threshold).sum())
low, high = wilson_interval(hits, len(shifted))
print(f"detected {hits / len(shifted):.0%} ({low:.0%} to {high:.0%}) at 5 % false alarms")
