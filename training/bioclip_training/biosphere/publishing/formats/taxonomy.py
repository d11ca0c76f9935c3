"""The offline taxonomy as a checklist: accepted names, synonyms, subspecies, and common names in two languages."""

from __future__ import annotations

from collections.abc import Iterator

from bioclip_training.biosphere.publishing.formats.target import Target
from bioclip_training.biosphere.publishing.tree import Species, Tree

_HEADER = (
    "taxonID", "parentNameUsageID", "acceptedNameUsageID", "scientificName", "scientificNameAuthorship", "canonicalName", "taxonRank",
    "taxonomicStatus",
)  # fmt: skip
_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")
_EML = """<?xml version="1.0" encoding="UTF-8"?>
<eml><dataset><title>Checklist of the invented tree of life</title><pubDate>{date}</pubDate></dataset></eml>
"""


def write(target: Target) -> None:
    """Write ``Taxon.tsv``, ``VernacularName.tsv`` and ``eml.xml``, as GBIF's backbone has them."""
    tree = target.plan.tree
    target.table("Taxon.tsv", _HEADER, _taxa(tree), separator="\t")
    rows = [
        (_id(one), name, language)
        for one in tree.species
        for name, language in ((one.english, "en"), (one.german, "de"))
        if name
    ]
    target.table("VernacularName.tsv", ("taxonID", "vernacularName", "language"), rows, separator="\t")
    target.write("eml.xml", _EML.format(date=f"2026-01-{target.plan.seed % 28 + 1:02d}").encode())


def _id(species: Species) -> str:
    return f"S{species.number:05d}"


def _taxa(tree: Tree) -> Iterator[tuple[str, ...]]:
    nodes: dict[tuple[str, ...], str] = {}
    for one in tree.species:
        for depth in range(1, 7):
            chain = one.higher[:depth]
            if chain not in nodes:
                nodes[chain] = f"H{len(nodes):05d}"
                yield (
                    nodes[chain],
                    nodes.get(chain[:-1], ""),
                    "",
                    chain[-1],
                    "",
                    chain[-1],
                    _RANKS[depth - 1],
                    "accepted",
                )
                if depth == 5 and chain[-1] in tree.older_families:
                    older = tree.older_families[chain[-1]]
                    yield f"{nodes[chain]}-1", "", nodes[chain], older, "", older, "family", "synonym"
        parent, authors = nodes[one.higher], one.authorship.written()
        yield _id(one), parent, "", f"{one.binomial} {authors}", authors, one.binomial, "species", "accepted"
        yield from _below(one, authors)


def _below(one: Species, authors: str) -> Iterator[tuple[str, ...]]:
    for place, epithet in enumerate(one.subspecies):
        name = f"{one.genus} {one.epithet} {epithet}"
        yield f"{_id(one)}-b{place}", _id(one), "", f"{name} {authors}", authors, name, "subspecies", "accepted"
    for place, (genus, epithet) in enumerate(one.synonyms):
        name = f"{genus} {epithet}"
        yield f"{_id(one)}-s{place}", "", _id(one), f"{name} {authors}", authors, name, "species", "synonym"
    for place, (genus, epithet) in enumerate(one.shared):
        name = f"{genus} {epithet}"
        yield f"{_id(one)}-p{place}", "", _id(one), name, "", name, "species", "proparte synonym"
