"""Checks of the header of MegaDetector results: version, categories, and the taxonomy of classifications."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from bioclip_core.errors import UsageError
from bioclip_plugin.contracts.problem import Severity
from bioclip_plugin.formats.megadetector.read import version_of
from bioclip_plugin.formats.shared.streamed_json import kind_of

_DESCRIPTIONS = "classification_category_descriptions"
_MEMBERS = frozenset(("info", "images", "detection_categories", "classification_categories", _DESCRIPTIONS))
_PARTS = "id;class;order;family;genus;species;common name"
_KINGDOMS = frozenset("animalia plantae fungi chromista protozoa bacteria archaea".split())


class Fault(NamedTuple):
    """A fault in a part of a file."""

    record: str
    message: str
    value: str = ""
    severity: Severity = "error"


def header_faults(
    head: Mapping[str, Any], detected: Mapping[str, str], classified: Mapping[str, str]
) -> Iterator[Fault]:
    """Yield the faults of all members but the elements of ``images``.

    Args:
        head: the members.
        detected: ids of detections that images use, with the first record that uses each.
        classified: the same for classifications.
    """
    yield from _info_faults(head.get("info"))
    if not isinstance(head.get("images"), list):
        yield Fault("images", "must be an array of images", kind_of(head.get("images")))
    yield from _table_faults("detection_categories", head.get("detection_categories"), detected)
    if classified or head.get("classification_categories") is not None:
        yield from _table_faults("classification_categories", head.get("classification_categories"), classified)
    yield from _description_faults(head.get(_DESCRIPTIONS), head.get("classification_categories"))
    for name in sorted(set(head) - _MEMBERS):
        yield Fault(name, "this member is not part of the format", severity="warning")


def _info_faults(info: Any) -> Iterator[Fault]:
    try:
        version_of(info)
    except UsageError as error:
        yield Fault("info", str(error))
        return
    given = info["format_version"]
    if not isinstance(given, str):
        severity: Severity = "warning" if given < 1.6 else "error"
        yield Fault("info", 'format_version must be a text, such as "1.6"', repr(given), severity)
    if "detector" not in info:
        yield Fault("info", "detector is missing: readers guess thresholds from it", severity="warning")


def _table_faults(member: str, table: Any, used: Mapping[str, str]) -> Iterator[Fault]:
    """Yield the faults of an object of ids and names, and the ids in use that it lacks."""
    if not isinstance(table, dict):
        kind = "missing" if table is None else kind_of(table)
        yield Fault(member, "must be an object with the name of each id", kind)
        return
    for key, name in table.items():
        if not key.isascii() or not key.isdigit():
            yield Fault(member, "an id must be a whole number from 0, as text", key)
        if not isinstance(name, str) or not name.strip():
            yield Fault(member, f"the name of {key} must not be blank", repr(name))
    for key, record in used.items():
        if key not in table:
            yield Fault(record, f"its category is not in {member}", key)
    if member == "detection_categories":
        if "0" in table:
            yield Fault(member, 'id "0" means empty to readers: begin with "1"', str(table["0"]), "warning")
        if "animal" not in table.values():
            yield Fault(member, "no category is called animal, which readers look for", severity="warning")


def _description_faults(table: Any, classes: Any) -> Iterator[Fault]:
    if table is None:
        return
    if not isinstance(table, dict) or not isinstance(classes, dict):
        message = "must be an object with a text for each id, beside classification_categories"
        yield Fault(_DESCRIPTIONS, message, kind_of(table))
        return
    for key in sorted(set(table) ^ set(classes)):
        yield Fault(_DESCRIPTIONS, "must have the same ids as classification_categories", key)
    for key, text in table.items():
        for alternative in text.split("|") if isinstance(text, str) else [text]:  # readers split at this mark
            yield from _taxonomy_faults(f"{_DESCRIPTIONS}[{key}]", alternative)


def _taxonomy_faults(record: str, text: Any) -> Iterator[Fault]:
    parts = text.split(";") if isinstance(text, str) else []
    if len(parts) != 7:
        yield Fault(record, f"must have 7 parts: {_PARTS}; readers fail otherwise", repr(text))
        return
    if text != text.lower():
        yield Fault(record, "must be in lower case", text)
    if parts[0].strip() in _KINGDOMS:
        yield Fault(record, "the first part must be an id, not a kingdom: the ranks begin with class", text)
    if " " in parts[5].strip():
        yield Fault(record, "the species must be the epithet alone; readers take two words for a subspecies", text)
    if parts[5].strip() and not parts[4].strip():
        yield Fault(record, "a species without its genus", text, "warning")
