"""A model in training: image and text tower, their blocks, LoRA, and the fastest kernels for this machine."""
