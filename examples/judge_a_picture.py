"""Judge one picture, and draw what the monitor saw: python judge_a_picture.py PICTURE [BUNDLE]"""

import sys

import ls_ood_monitor as ood

picture, *bundle = sys.argv[1:]
monitor = ood.load_bundle(*bundle)  # without a bundle: the embedded one, of the synthetic street
prediction = monitor.predict(ood.read_picture(picture))
print(prediction)
prediction.plot().savefig("judged.png")
