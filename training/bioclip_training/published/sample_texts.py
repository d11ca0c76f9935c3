"""Meaning of a sample's texts: names, captions and metadata, from TreeOfLife's text members and from JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bioclip_core.captions import Caption
from bioclip_core.findings import Findings
from bioclip_core.taxonomy import RANKS

RANK_NAMES = tuple(rank.value for rank in RANKS)
CAPTION_MEMBERS: Mapping[str, Caption] = {
    "taxon.txt": Caption.TAXONOMIC,
    "sci.txt": Caption.SCIENTIFIC,
    "com.txt": Caption.COMMON,
    "sci_com.txt": Caption.SCIENTIFIC_COMMON,
    "taxon_com.txt": Caption.TAXONOMIC_COMMON,
}
"""TreeOfLife's text members that BioCLIP is trained on. Source: Stevens et al. 2024, section 3.2."""
_OF_COMMON = (Caption.COMMON, Caption.SCIENTIFIC_COMMON, Caption.TAXONOMIC_COMMON)
_FREE_TEXTS = ("txt", "text", "caption", "caption.txt")
FREE_CELLS = ("caption", "text", "txt")
_COMMON_CELLS = ("common_name", "common", "vernacular_name", "vernacularname")
_OF_NAMES = frozenset(
    (
        *CAPTION_MEMBERS,
        "taxonomic_name.txt",
        "scientific_name.txt",
        "common_name.txt",
        "taxontag.txt",
        "taxontag_com.txt",
    )
)
_TAGS = re.compile(rf"\b({'|'.join(RANK_NAMES)}) ")
_PROMPT = "a photo of "

REPEATED = "samples have their scientific name in place of a common name; they have no captions with one"
BAD_JSON = "samples have JSON that cannot be read"
NOT_FINITE = "samples have NaN or Infinity in their JSON, which is read as a missing value"


@dataclass(slots=True)
class Described:
    """What a sample says of its image."""

    ranks: tuple[str, ...] = ()
    """Seven names, kingdom first; empty if the texts do not say which rank each name has."""
    taxonomic: str = ""
    """Names of all ranks in a row, without their ranks."""
    scientific: str = ""
    common_name: str = ""
    captions: dict[Caption, str] = field(default_factory=dict)
    """Captions as published, without degenerate ones."""
    caption: str = ""
    """A text about the image itself."""
    cells: Mapping[str, Any] = field(default_factory=dict)
    """The sample's JSON."""

    @property
    def has_taxon(self) -> bool:
        return bool(any(self.ranks) or self.taxonomic or self.scientific)


def described(texts: Mapping[str, str], where: str, findings: Findings) -> Described:
    """Return the meaning of a sample's texts.

    Args:
        texts: contents by extension.
        where: name of the sample, for findings.
        findings: for texts that cannot be used.
    """
    return _described(texts, json_cells(texts.get("json", ""), where, findings), where, findings)


def described_cells(cells: Mapping[str, Any], where: str, findings: Findings) -> Described:
    """Return the meaning of a row of a table; arguments as of :func:`described`."""
    known = {str(name).lower(): value for name, value in cells.items() if not _is_missing(value)}
    return _described({}, known, where, findings)


def _described(texts: Mapping[str, str], cells: Mapping[str, Any], where: str, findings: Findings) -> Described:
    found = Described(cells=cells)
    found.scientific, found.taxonomic = texts.get("scientific_name.txt", ""), texts.get("taxonomic_name.txt", "")
    found.captions = {kind: texts[name] for name, kind in CAPTION_MEMBERS.items() if texts.get(name)}
    found.taxonomic = found.taxonomic or _prompted(texts.get("taxon.txt", ""))
    found.scientific = found.scientific or _prompted(texts.get("sci.txt", ""))
    tagged = tagged_ranks(texts.get("taxontag.txt", ""))
    if any(tagged) and (not found.taxonomic or " ".join(filter(None, tagged)) == found.taxonomic):
        found.ranks = tagged
    elif stated := _stated_ranks(cells):
        found.ranks = stated
    else:
        found.ranks = counted_ranks(found.taxonomic, found.scientific)
    _set_common_name(found, texts, where, findings)
    free = next((texts[name] for name in _FREE_TEXTS if texts.get(name)), "") or _only_text(texts)
    found.caption = free or next((str(cells[name]) for name in FREE_CELLS if cells.get(name)), "")
    return found


def _only_text(texts: Mapping[str, str]) -> str:
    """Return the one text of a sample whatever its name, such as ``outputs.txt``; nothing if there are several or names."""
    found = [text for name, text in texts.items() if name.endswith(".txt") and text]
    return found[0] if len(found) == 1 and not texts.keys() & _OF_NAMES else ""


def json_cells(text: str, where: str, findings: Findings) -> Mapping[str, Any]:
    """Return the JSON object of a sample with its names in small letters; img2dataset writes NaN into it."""
    if not text:
        return {}
    not_finite = False

    def constant(_: str) -> None:
        nonlocal not_finite
        not_finite = True

    try:
        cells = json.loads(text, parse_constant=constant)
    except (ValueError, RecursionError):
        findings.add(BAD_JSON, where)
        return {}
    if not_finite:
        findings.add(NOT_FINITE, where)
    if not isinstance(cells, dict):
        findings.add(BAD_JSON, f"{where}: it is not an object")
        return {}
    return {str(name).lower(): value for name, value in cells.items() if not _is_missing(value)}


def tagged_ranks(text: str) -> tuple[str, ...]:
    """Return the seven names of a caption that states the rank of each.

    >>> tagged_ranks("a photo of kingdom Animalia class Aves genus Turdus species merula.")
    ('Animalia', '', 'Aves', '', '', 'Turdus', 'merula')
    """
    parts = _TAGS.split(_prompted(text) or text)[1:]
    names = dict(zip(parts[::2], parts[1::2], strict=False))
    is_ordered = list(names) == [rank for rank in RANK_NAMES if rank in names] and 2 * len(names) == len(parts)
    return tuple(names.get(rank, "").strip() for rank in RANK_NAMES) if is_ordered else ("",) * 7


def counted_ranks(taxonomic: str, scientific: str) -> tuple[str, ...]:
    """Return the seven names of a taxonomic name without holes: five above the scientific name; empty for others.

    >>> counted_ranks("Animalia Chordata Aves Passeriformes Turdidae Turdus merula", "Turdus merula")
    ('Animalia', 'Chordata', 'Aves', 'Passeriformes', 'Turdidae', 'Turdus', 'merula')
    """
    words, below = taxonomic.split(), scientific.split()
    if len(below) < 2 and len(words) == 7:  # without a scientific name of its own
        below = words[5:]
    if len(below) < 2 or words[5:] != below:
        return ()
    return (*words[:5], below[0], " ".join(below[1:]))


def _stated_ranks(cells: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the seven names that JSON states by their ranks; empty without any."""
    names = [str(cells.get(rank, "")).strip() for rank in RANK_NAMES]
    genus, species = names[5], names[6]
    if genus and species.lower().startswith(f"{genus.lower()} "):  # the genus prefix leaves the species column
        names[6] = species[len(genus) + 1 :].strip()
    return tuple(names) if any(names) else ()


def _set_common_name(found: Described, texts: Mapping[str, str], where: str, findings: Findings) -> None:
    common = texts.get("common_name.txt", "") or _prompted(texts.get("com.txt", ""))
    common = common or next((str(found.cells[name]) for name in _COMMON_CELLS if found.cells.get(name)), "")
    own = [
        name.lower() for name in (found.scientific, found.taxonomic, " ".join(filter(None, found.ranks[5:]))) if name
    ]
    if common and common.lower() in own:
        findings.add(REPEATED, where)
        common = ""
    found.common_name = common
    if not common:
        found.captions = {kind: text for kind, text in found.captions.items() if kind not in _OF_COMMON}


def _prompted(text: str) -> str:
    """Return the name in a caption "a photo of NAME."; empty for other texts."""
    return text.removeprefix(_PROMPT).removesuffix(".").strip() if text.startswith(_PROMPT) else ""


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and not math.isfinite(value))
