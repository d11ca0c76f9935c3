"""Batches on a GPU: copied while others are computed, of a size that its memory suffices for, replayed as CUDA graphs."""
