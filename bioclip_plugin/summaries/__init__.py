"""Figures of a run by the conventions of camera trapping: independent events, effort, detection rates, accumulation, reviewers."""
