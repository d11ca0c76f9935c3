"""Names of a catalog: cleaned, decided by a map or an option, suspected misspellings, and one label per taxon."""
