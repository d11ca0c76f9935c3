"""MegaDetector batch results."""
