"""pytorch-ood imports torchvision, which beside a CPU build of torch imports only after this module."""

import ls_ood_monitor.vision.torchvision_compat  # noqa: F401
