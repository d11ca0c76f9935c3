"""Execution engines: a run in shards, each a file of items and a Parquet part of results in a work folder."""
