"""Recordings that were not closed, cut off or holed: what their files still tell. Used by ``bags`` and ``drives`` alone."""
