"""Checks of files in other programs' formats: what their own readers accept in silence is found here too, one format a module."""
