"""Scaling study: how the structure of a model's space changes with the number of training images, on the biosphere."""
