"""Recordings as people have them: bags, videos and folders of pictures, the damaged ones too, and their ground truth."""
