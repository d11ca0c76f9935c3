"""Everything that happens while a run runs: Session, engine, pipeline, listing, and the rule pass."""
