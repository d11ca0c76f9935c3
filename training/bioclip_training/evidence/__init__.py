"""Evidence in small numbers: intervals, and what a number of independent groups can show."""
