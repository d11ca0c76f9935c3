"""Rows of several sources merged: pairs of equal regions, the label that counts, and the trace of the others."""
