#!/usr/bin/env python3
"""The reference's training command under its own name: the same as ``ls-ood train``."""

import sys

from ls_ood_monitor.cli.main import main

if __name__ == "__main__":  # reading processes import this file again
    main(["train", *sys.argv[1:]])
