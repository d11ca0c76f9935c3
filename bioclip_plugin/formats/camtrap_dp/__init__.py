"""Camtrap DP packages."""
