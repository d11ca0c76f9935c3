"""One run's regions as NumPy columns beside its store: filters, sorting, pages and counts without the database."""
