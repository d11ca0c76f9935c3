"""Precision and recall of each stage of ``curate`` on a published rendering of the biosphere, whose truth is known."""
