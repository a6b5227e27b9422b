"""Recordings: bags, videos and folders of pictures, also damaged ones, and their ground truth."""
