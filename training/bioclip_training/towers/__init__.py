"""A model in training: image and text tower, their blocks, LoRA, and the fastest kernels for this machine.

What makes a step shorter than one of open_clip's own trainer is in ``blocks``, ``probing``, ``text_tower`` and ``token_table``.
"""
