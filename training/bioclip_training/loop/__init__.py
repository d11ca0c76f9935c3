"""The training loop: from a recipe to a checkpoint."""
