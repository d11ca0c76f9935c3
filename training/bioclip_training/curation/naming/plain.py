"""Names that need no cleaning: plain binomials that the taxonomy accepts and whose ranks it confirms, which most combinations are."""

from __future__ import annotations

import re

from bioclip_core.names import clean_name, parse_name
from bioclip_core.naming.words import NOT_PLAIN
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_training.catalog.naming.labelling import resolving_changes
from bioclip_training.curation.naming.combinations import Reading, Written
from bioclip_training.taxonomy.index import TaxonomyFile
from bioclip_training.taxonomy.near import Outcome
from bioclip_training.taxonomy.rows import ACCEPTED

_RANK = re.compile(r"[A-Z][a-z]+", re.ASCII)
_BINOMIAL = re.compile(r"[A-Z][a-z]+ [a-z]{3,}", re.ASCII)
_AUTHOR = r"[A-ZÀ-ÖØ-Þ][a-zß-öø-ÿ]*\.?"
_TEAM = rf"{_AUTHOR}(?:(?: & |, | ex | )(?={_AUTHOR}){_AUTHOR})*(?:, 1[789]\d\d|, 20\d\d)?"
_AUTHORITY = re.compile(rf"\({_TEAM}\)(?: {_TEAM})?|{_TEAM}")
_NO_AUTHORS = (NOT_PLAIN | {"x"}) - {"ex"}
_AUTHOR_WORD = re.compile(r"[^\W\d_]+")


def listed_plainly(written: Written, taxonomy: TaxonomyFile) -> Reading | None:
    """Return the reading of a combination without any peculiarity, in a fraction of the time; None for any other one.

    It is the same as the reading that the parser and the resolver give.
    """
    cells = written.cells
    genus, epithet, verbatim = cells.get("genus", ""), cells.get("species", ""), cells.get("scientificname", "")
    if cells.get("taxonrank", "species").lower() != "species":
        return None
    binomial = epithet if " " in epithet else f"{genus} {epithet}" if genus and epithet else ""
    name, authority = _parts(verbatim)
    binomial = binomial or name
    if not _BINOMIAL.fullmatch(binomial) or (verbatim and name != binomial):
        return None
    if genus and not binomial.startswith(f"{genus} "):
        return None
    parsed = parse_name(binomial)
    if parsed.doubt or parsed.canonical != binomial or parsed.genus.lower().endswith(("idae", "aceae")):
        return None
    given = Taxon.of((*(cells.get(rank.value, "") for rank in RANKS[:5]), parsed.genus, parsed.epithet))
    if not all(_RANK.fullmatch(above) for above in given.lineage[:5] if above):
        return None
    return _confirmed(written, taxonomy, given, verbatim or binomial, authority)


def _parts(verbatim: str) -> tuple[str, str]:
    """Return a binomial and its authority; an empty binomial for any other text."""
    first, _, rest = verbatim.partition(" ")
    second, _, authority = rest.partition(" ")
    is_plain = not authority or (
        _AUTHORITY.fullmatch(authority)
        and clean_name(verbatim) == verbatim
        and _NO_AUTHORS.isdisjoint(map(str.lower, _AUTHOR_WORD.findall(authority)))
    )
    return (f"{first} {second}", authority) if is_plain else ("", "")


def _confirmed(written: Written, taxonomy: TaxonomyFile, given: Taxon, verbatim: str, authority: str) -> Reading | None:
    rows = taxonomy.rows(f"{given.genus} {given.species}".lower())
    if len(rows) != 1 or rows[0].status != ACCEPTED or rows[0].rank != "species" or "×" in rows[0].name:
        return None
    accepted, taxon_id = taxonomy.placed(rows[0])
    if any(here and here != there for here, there in zip(given.lineage, accepted.lineage, strict=True)):
        return None
    reading = Reading(written.number, verbatim, written.rows, accepted, outcome=str(Outcome.EXACT))
    reading.taxon_id = f"{taxonomy.checklist}:{taxon_id}"
    reading.changes = [f"authority {authority!r} removed"] if authority else []
    reading.changes += resolving_changes(given, accepted, "")
    reading.says_place = any(given.lineage[:5])
    return reading
