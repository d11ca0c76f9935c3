"""Evaluation of a model on held-out images of a catalog: figures with intervals, a report, and one row per image."""
