"""Taxonomies for use without a network: a checklist as one SQLite file, and names resolved against it."""

from bioclip_training.taxonomy.build import BuiltTaxonomy, build_taxonomy
from bioclip_training.taxonomy.matching import NameCandidate
from bioclip_training.taxonomy.near import Outcome
from bioclip_training.taxonomy.relation import relation
from bioclip_training.taxonomy.resolving import Resolution, TaxonomyIndex

__all__ = ["BuiltTaxonomy", "NameCandidate", "Outcome", "Resolution", "TaxonomyIndex", "build_taxonomy", "relation"]
