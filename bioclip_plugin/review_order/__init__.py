"""The order in which items are reviewed: strategies, the audit sample, how many more reviews, and who reviews what."""
