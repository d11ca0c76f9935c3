"""The evaluation sets: unseen species in the layout of Rare Species, and a holdout of seen ones as a Darwin Core archive."""

from __future__ import annotations

from bioclip_training.biosphere.publishing.formats.evaluation_ids import content_id, gbif_id, occurrence_id, page_id
from bioclip_training.biosphere.publishing.formats.gbif import MULTIMEDIA, OCCURRENCE, meta_xml, occurrence_row
from bioclip_training.biosphere.publishing.formats.target import Target
from bioclip_training.biosphere.publishing.plan import HOLDOUT, RARE, Unit
from bioclip_training.biosphere.publishing.statements import clean

_CATALOG = (
    "rarespecies_id", "eol_content_id", "eol_page_id", "kingdom", "phylum", "class", "order", "family", "genus", "species", "sciName",
    "canonicalName", "common",
)  # fmt: skip


def write_rare_species(target: Target) -> None:
    """Write ``rarespecies-catalog.csv`` and ``dataset/TAXON/CONTENT_PAGE_eol-full-size-copy.jpg``."""
    rows = []
    for item in target.plan.items_of(RARE):
        one = target.plan.tree.species[item.species]
        content, page = content_id(item), page_id(item.species)
        item.identifier = f"dataset/{'_'.join((*one.higher, one.epithet))}/{content}_{page}_eol-full-size-copy.jpg"
        target.write(item.identifier, target.picture(item.picture))
        uuid = target.plan.uuid(RARE, item.number)
        rows.append((uuid, content, page, *one.higher, one.epithet, one.binomial, one.binomial, one.english))
    target.table("rarespecies-catalog.csv", _CATALOG, rows)


def write_holdout(target: Target) -> None:
    """Write an archive of occurrences with one image each."""
    occurrences, media = [], []
    for item in target.plan.items_of(HOLDOUT):
        name = f"{target.plan.uuid(HOLDOUT, item.number)}.jpg"
        item.identifier = f"images/{name}"
        target.write(item.identifier, target.picture(item.picture))
        unit = Unit("gbif", item.number, item.species, clean(target.plan.tree.species[item.species]))
        key = gbif_id(item)
        when = target.plan.taken_at(item.picture)
        row = occurrence_row(key, occurrence_id(item), unit, basis="HUMAN_OBSERVATION", number=item.number, when=when)
        occurrences.append(row)
        media.append((key, "StillImage", "image/jpeg", f"https://images.example.org/{name}", "CC_BY_4_0", "a recorder"))
    target.table("occurrence.txt", OCCURRENCE, occurrences, separator="\t")
    target.table("multimedia.txt", MULTIMEDIA, media, separator="\t")
    target.write("meta.xml", meta_xml().encode())
