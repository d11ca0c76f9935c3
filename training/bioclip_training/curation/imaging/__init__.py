"""Images of a curation: their hashes, duplicates, leaks into evaluation sets, and filters on their content."""
