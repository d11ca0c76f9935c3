"""From the bytes of an image to upright RGB crops of the model's input size."""
