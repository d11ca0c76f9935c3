"""Readers of the layouts in which collections are published: one module per layout, records in one schema."""
