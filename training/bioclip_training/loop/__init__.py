"""The training loop: recipe, start, steps, losses, states, checkpoints, and the finished folder."""
