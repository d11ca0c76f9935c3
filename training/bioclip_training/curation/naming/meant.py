"""Common names in the place of scientific ones, read as the one species that has them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from bioclip_core.taxonomy import Rank, Taxon
from bioclip_training.curation.naming.combinations import Reading
from bioclip_training.curation.naming.reading import COMMON
from bioclip_training.curation.naming.tables import CommonTables
from bioclip_training.taxonomy.index import TaxonomyFile

OUTCOME = "common name"
"""Outcome of a name that was read so."""


def read_common_names_as_names(
    readings: Sequence[Reading], taxonomy: TaxonomyFile | None, tables: CommonTables
) -> None:
    """Label names that are the common name of a single species, in place. Those of several taxa stay without a label, with the choice."""
    wanted: dict[str, list[Reading]] = defaultdict(list)
    for reading in readings:
        if reading.may_be_common:
            wanted[" ".join(reading.may_be_common.split()).casefold()].append(reading)
    if not wanted:
        return
    taxa: dict[str, dict[Taxon, str]] = defaultdict(dict)
    if taxonomy is not None:
        for key, found in taxonomy.taxa_by_common(wanted).items():
            taxa[key].update((taxon, f"{taxonomy.checklist}:{taxon_id}") for taxon, taxon_id in found.items())
    for key, found in tables.taxa_by_common(wanted).items():
        taxa[key].update(found)
    for key, found in taxa.items():
        for reading in wanted[key]:
            _label(reading, found)


def _label(reading: Reading, taxa: dict[Taxon, str]) -> None:
    names = sorted(taxon.scientific_name for taxon in taxa)
    if len(taxa) > 1:
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        reading.refuse(COMMON, f"{reading.may_be_common!r} is the common name of {shown}")
        return
    taxon, taxon_id = next(iter(taxa.items()))
    if taxon.rank is not Rank.SPECIES:
        reading.refuse(
            COMMON, f"{reading.may_be_common!r} is the common name of the {taxon.rank} {taxon.scientific_name}"
        )
        return
    reading.taxon, reading.taxon_id, reading.unresolved, reading.outcome = taxon, taxon_id, None, OUTCOME
    reading.says_place, reading.unplaced = True, ""
    reading.changes = [
        f"common name {reading.may_be_common!r} read as {taxon.scientific_name}, the only taxon that has it"
    ]
