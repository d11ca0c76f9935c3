"""Conversion of image files to upright RGB crops of the model's input size."""
