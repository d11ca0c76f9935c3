"""Labelled images as WebDataset tars: written, read in any order, and checked."""
