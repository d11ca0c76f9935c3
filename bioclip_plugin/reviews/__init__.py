"""Reviews by people: imported from files, compared with the run's decisions, and set beside the names of a collection."""
