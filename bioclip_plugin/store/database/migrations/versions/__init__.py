"""One file per version of the tables, oldest first. A released migration is never changed in what it does."""
