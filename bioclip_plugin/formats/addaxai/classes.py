"""The classes of an exported model: one unique name a label, and AddaxAI's ``taxonomy.csv``."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence

from bioclip_core.taxonomy import Taxon

HEADER = ("model_class", "class", "order", "family", "genus", "species")


def class_names(taxa: Sequence[Taxon]) -> list[str]:
    """A name for each taxon, in lower case and unique: AddaxAI joins results to the table by it.

    It is the scientific name, or a custom label's words; where two are equal (a genus of plants and one of animals) the
    nearest ancestor in which they differ stands behind it, and a number where they differ in nothing.
    """
    plain = [_plain(taxon.scientific_name or taxon.common_name) or "unnamed" for taxon in taxa]
    counts = Counter(plain)
    names = [name if counts[name] == 1 else _told_apart(name, taxon) for name, taxon in zip(plain, taxa, strict=True)]
    taken: set[str] = set()
    for place, name in enumerate(names):
        number, unique = 1, name
        while unique in taken:
            number += 1
            unique = f"{name} {number}"
        names[place] = unique
        taken.add(unique)
    return names


def taxonomy_csv(names: Sequence[str], taxa: Sequence[Taxon]) -> str:
    """``taxonomy.csv``: a row a class, in lower case, the epithet alone as species, nothing where a rank is not known."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(HEADER)
    for name, taxon in zip(names, taxa, strict=True):
        ranks = (taxon.class_, taxon.order, taxon.family, taxon.genus, taxon.species)
        rows.writerow([name, *(_plain(rank) for rank in ranks)])
    return text.getvalue()


def _told_apart(name: str, taxon: Taxon) -> str:
    ancestors = [_plain(rank) for rank in taxon.lineage[:5] if rank and _plain(rank) != name]
    return f"{name} ({', '.join(reversed(ancestors))})" if ancestors else name


def _plain(text: str) -> str:
    """Lower case, on one line."""
    return " ".join(text.split()).lower()
