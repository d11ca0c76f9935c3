"""The classes of an exported model: one unique name per label, and AddaxAI's ``taxonomy.csv``."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count

from bioclip_core.taxonomy import Taxon

HEADER = ("model_class", "class", "order", "family", "genus", "species")


def class_names(taxa: Sequence[Taxon]) -> list[str]:
    """Return a name for each taxon, in lower case and unique, by which AddaxAI joins results to the table.

    It is the scientific name, or a custom label's words. Equal names (a genus of plants and one of animals) are followed by
    their ancestors, and by a number if those are equal too.
    """
    plain = [_lower(taxon.scientific_name or taxon.common_name) or "unnamed" for taxon in taxa]
    counts = Counter(plain)
    names: dict[str, None] = {}
    for name, taxon in zip(plain, taxa, strict=True):
        ancestors = [_lower(rank) for rank in reversed(taxon.lineage[:5]) if rank and _lower(rank) != name]
        whole = f"{name} ({', '.join(ancestors)})" if ancestors and counts[name] > 1 else name
        names[next(one for one in _numbered(whole) if one not in names)] = None
    return list(names)


def taxonomy_csv(names: Sequence[str], taxa: Sequence[Taxon]) -> str:
    """Return ``taxonomy.csv``: one row per class, in lower case, with the epithet as species and empty cells for unknown ranks."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(HEADER)
    for name, taxon in zip(names, taxa, strict=True):
        ranks = (taxon.class_, taxon.order, taxon.family, taxon.genus, taxon.species)
        rows.writerow([name, *(_lower(rank) for rank in ranks)])
    return text.getvalue()


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name} {number}" for number in count(2))


def _lower(text: str) -> str:
    return " ".join(text.split()).lower()
