"""Tables: CSV, Parquet, Excel and JSON Lines."""
