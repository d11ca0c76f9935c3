"""Taxonomies for reading without a network: a checklist as one SQLite file, and names resolved against it."""

from __future__ import annotations

from bioclip_training.taxonomy.build import BuiltTaxonomy, build_taxonomy
from bioclip_training.taxonomy.index import TaxonomyIndex
from bioclip_training.taxonomy.matching import NameCandidate, Outcome
from bioclip_training.taxonomy.relation import relation
from bioclip_training.taxonomy.resolving import Resolution

__all__ = ["BuiltTaxonomy", "NameCandidate", "Outcome", "Resolution", "TaxonomyIndex", "build_taxonomy", "relation"]
