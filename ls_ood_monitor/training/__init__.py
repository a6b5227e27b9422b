"""Train the segmentation network with pytorch-lightning; needs the train extra (requirements/train.txt)."""
