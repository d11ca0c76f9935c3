"""Ablations: the same collection trained in several ways that differ in one thing each, and what that thing changes."""
