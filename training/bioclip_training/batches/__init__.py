"""From catalog rows to batches: order, decoding, augmentation, captions."""
