"""Evaluation sets of the BioCLIP papers: readers of their layouts, their protocols as published, and beside them what is corrected."""
