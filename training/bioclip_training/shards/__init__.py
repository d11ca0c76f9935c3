"""Labelled images as WebDataset tars: written, read at random, and checked."""
