"""Commands around reviews: import, statistics, and second opinions on catalogued names."""
