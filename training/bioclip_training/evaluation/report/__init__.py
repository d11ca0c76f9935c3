"""The report of an evaluation as one HTML file: the page, and one module per part of it."""
