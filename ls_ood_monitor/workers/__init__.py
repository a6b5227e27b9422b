"""Work on several recordings at once: in threads, in processes, and on a cluster."""
