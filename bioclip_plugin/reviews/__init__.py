"""What people said of images: read from files, compared with the run's decisions, and beside the names of a collection."""
