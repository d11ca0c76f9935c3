"""Detections of PyTorch-Wildlife, and lists of detections as programs around MegaDetector write them."""
