"""From labelled items to a checkpoint, and how good it is."""
