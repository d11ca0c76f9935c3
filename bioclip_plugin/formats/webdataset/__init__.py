"""WebDataset shards as an input of a run."""
