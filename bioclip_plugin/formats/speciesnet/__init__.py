"""SpeciesNet predictions."""
