"""Training of the segmentation network on pytorch-lightning; needs the train extra (requirements/train.txt)."""
