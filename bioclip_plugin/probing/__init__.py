"""A plan before a long run: a sample of its images is worked on, and time, space and bottleneck follow from it."""
