"""The catalog: labelled regions with clean names, groups and splits, in one Parquet file."""
