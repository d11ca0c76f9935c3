"""Stage ``names``: distinct written names to labels, with a trace of every change and a reason for every name without a label."""
