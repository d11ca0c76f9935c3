"""Structure of a model's feature space: the tree, traits of species, and variation within species, each as a number with an interval."""
