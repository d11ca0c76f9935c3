"""A run as a Camtrap DP package, one part of it a module."""
