"""Recordings that were not closed, cut off or holed: what their storage files still tell. Used by ``bags`` alone."""
