"""File formats of other programs, one room per format: reading, writing and checking together."""
