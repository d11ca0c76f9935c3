"""Small invented checklists in the formats that an index is built from, for the tests of the taxonomy."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bioclip_core.taxonomy import Taxon
from bioclip_training.taxonomy import TaxonomyIndex, build_taxonomy

GBIF_COLUMNS = (
    "taxonID", "datasetID", "parentNameUsageID", "acceptedNameUsageID", "originalNameUsageID", "scientificName",
    "scientificNameAuthorship", "canonicalName", "genericName", "specificEpithet", "infraspecificEpithet", "taxonRank",
    "nameAccordingTo", "namePublishedIn", "taxonomicStatus", "nomenclaturalStatus", "taxonRemarks", "kingdom", "phylum", "class",
    "order", "family", "genus",
)  # fmt: skip

Name = tuple[str, str, str, str, str, str, str]
"""id, parent, accepted, canonical name, authorship, rank, status"""

FLORA: tuple[Name, ...] = (
    ("1", "", "", "Fictoplantae", "", "kingdom", "accepted"),
    ("2", "1", "", "Fictophyta", "", "phylum", "accepted"),
    ("3", "2", "", "Fictopsida", "", "class", "accepted"),
    ("4", "3", "", "Fictales", "", "order", "accepted"),
    ("5", "4", "", "Fictaceae", "", "family", "accepted"),
    ("6", "5", "", "Fictomala", "Inv.", "genus", "accepted"),
    ("7", "6", "", "Fictomala alba", "Inv.", "species", "accepted"),
    ("8", "6", "", "Fictomala rubescens", "Mak.", "species", "accepted"),
    ("9", "6", "7", "Fictomala candida", "Mak.", "species", "synonym"),
    ("10", "6", "", "Fictomala dubiosa", "Mak.", "species", "doubtful"),
    ("11", "6", "8", "Fictomala erronea", "auct.", "species", "misapplied"),
    ("12", "7", "", "Fictomala alba minor", "Inv.", "subspecies", "accepted"),
)
FAUNA: tuple[Name, ...] = (
    ("51", "", "", "Fictanimalia", "", "kingdom", "accepted"),
    ("52", "51", "", "Fictochordata", "", "phylum", "accepted"),
    ("53", "52", "", "Fictaves", "", "class", "accepted"),
    ("54", "53", "", "Fictopasseriformes", "", "order", "accepted"),
    ("55", "54", "", "Fictipedidae", "", "family", "accepted"),
    ("56", "55", "", "Rufictipes", "Inv., 1900", "genus", "accepted"),
    ("57", "56", "", "Rufictipes volans", "Inv., 1900", "species", "accepted"),
    ("58", "55", "", "Fictomala", "Mak., 1801", "genus", "accepted"),
    ("59", "58", "", "Fictomala canora", "Mak., 1801", "species", "accepted"),
)


def gbif_text(names: Iterable[Name], **extra: dict[str, str]) -> str:
    """Return a ``Taxon.tsv``. ``extra`` gives more cells by ``id_`` and the id of the name."""
    lines = ["\t".join(GBIF_COLUMNS)]
    for own, parent, accepted, canonical, author, rank, status in names:
        cells = {
            "taxonID": own, "parentNameUsageID": parent, "acceptedNameUsageID": accepted,
            "scientificName": f"{canonical} {author}".strip(), "scientificNameAuthorship": author, "canonicalName": canonical,
            "taxonRank": rank, "taxonomicStatus": status, **extra.get(f"id_{own}", {}),
        }  # fmt: skip
        lines.append("\t".join(cells.get(column, "") for column in GBIF_COLUMNS))
    return "\n".join(lines) + "\n"


def opened(folder: Path, text: str | bytes, name: str = "Taxon.tsv") -> TaxonomyIndex:
    """Open the index of one file's text, as checklist "Inventa" of 2024."""
    source = folder / name
    source.write_bytes(text if isinstance(text, bytes) else text.encode())
    build_taxonomy(source, folder / "made.taxonomy", checklist="Inventa", version="2024")
    return TaxonomyIndex.open(folder / "made.taxonomy")


def plant(genus: str = "", species: str = "", family: str = "") -> Taxon:
    return Taxon(kingdom="Fictoplantae", family=family, genus=genus, species=species)
