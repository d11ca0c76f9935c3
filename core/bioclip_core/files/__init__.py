"""Files that are whole or absent, archives that are checked before use, and scratch databases."""
