"""Timelapse: reviews in its exported tables."""
