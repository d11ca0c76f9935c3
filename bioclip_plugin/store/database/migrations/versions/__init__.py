"""One file a version of the tables, oldest first. They only grow: a released one is never changed."""
