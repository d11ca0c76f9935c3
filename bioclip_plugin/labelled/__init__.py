"""Labelled images for a catalog: tables, folder trees, and the reviews of a result store."""
