"""Two models on the same images: the difference at each rank and species, and the verdict."""
