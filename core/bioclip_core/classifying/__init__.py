"""Arithmetic behind :mod:`bioclip_core.classify`: one pass over the label matrix, and sums over the tree."""
