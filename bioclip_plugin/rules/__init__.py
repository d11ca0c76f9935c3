"""The built-in rules, and the tables and maps that they read."""
