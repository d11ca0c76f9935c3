"""Inputs that are not of a particular format: folders, single files, paths on standard input."""
