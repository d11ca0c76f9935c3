"""The writers of a rendering: one module per published format, the evaluation sets and the taxonomy."""
