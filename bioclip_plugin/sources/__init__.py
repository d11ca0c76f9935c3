"""Inputs that belong to no format: folders, single files, paths on standard input."""
