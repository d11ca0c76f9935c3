"""Checks of the header of MegaDetector results: version, categories, and the taxonomy of classifications."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bioclip_core.errors import UsageError
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.megadetector.read import version_of
from bioclip_plugin.formats.shared.streamed_json import kind_of

_PARTS = 7
_KINGDOMS = frozenset("animalia plantae fungi chromista protozoa bacteria archaea".split())
_MEMBERS = frozenset(
    "info images detection_categories classification_categories classification_category_descriptions".split()
)


class Categories:
    """Ids that images use, with the first record that uses each."""

    def __init__(self) -> None:
        self.detections: dict[str, str] = {}
        self.classes: dict[str, str] = {}

    def detected(self, category: str, record: str) -> None:
        """Note the category of a detection."""
        self.detections.setdefault(category, record)

    def classified(self, category: str, record: str) -> None:
        """Note the category of a classification."""
        self.classes.setdefault(category, record)


def header_problems(file: str, head: Mapping[str, Any], used: Categories) -> Iterator[Problem]:
    """What is wrong with everything beside the images."""
    yield from _info(file, head)
    if not isinstance(head.get("images"), list):
        yield Problem(file, "images", "an array of images is needed", kind_of(head.get("images")))
    for member, ids, needed in (
        ("detection_categories", used.detections, True),
        ("classification_categories", used.classes, bool(used.classes)),
    ):
        yield from _table(file, member, head.get(member), ids, needed=needed)
    yield from _descriptions(file, head)
    for name in sorted(set(head) - _MEMBERS):
        yield Problem(file, name, "this member is not part of the format", severity="warning")


def _info(file: str, head: Mapping[str, Any]) -> Iterator[Problem]:
    info = head.get("info")
    try:
        version_of(info)
    except UsageError as error:
        yield Problem(file, "info", str(error))
        return
    assert isinstance(info, dict)
    given = info["format_version"]
    if not isinstance(given, str):
        old = given < 1.6
        yield Problem(
            file, "info", 'format_version must be a text, as "1.6"', repr(given), "warning" if old else "error"
        )
    if "detector" not in info:
        yield Problem(file, "info", "detector is missing: readers guess thresholds from it", severity="warning")


def _table(file: str, member: str, table: Any, used: Mapping[str, str], *, needed: bool) -> Iterator[Problem]:
    """An object of id and name, and whether all ids that images use stand in it."""
    if table is None and not needed:
        return
    if not isinstance(table, dict):
        yield Problem(
            file, member, "an object of id and name is needed", "missing" if table is None else kind_of(table)
        )
        return
    for key, name in table.items():
        if not key.isascii() or not key.isdigit():
            yield Problem(file, member, "an id must be a whole number from 0, as text", key)
        if not isinstance(name, str) or not name.strip():
            yield Problem(file, member, f"the name of {key} must not be blank", repr(name))
    for key, record in used.items():
        if key not in table:
            yield Problem(file, record, f"its category is not in {member}", key)
    if member == "detection_categories":
        if "0" in table:
            yield Problem(file, member, 'id "0" means empty to readers: begin with "1"', str(table["0"]), "warning")
        if "animal" not in table.values():
            yield Problem(file, member, "none is called animal, which readers look for", severity="warning")


def _descriptions(file: str, head: Mapping[str, Any]) -> Iterator[Problem]:
    member = "classification_category_descriptions"
    table = head.get(member)
    if table is None:
        return
    classes = head.get("classification_categories")
    if not isinstance(table, dict) or not isinstance(classes, dict):
        yield Problem(
            file, member, "an object of id and text is needed, beside classification_categories", kind_of(table)
        )
        return
    for key in sorted(set(table) ^ set(classes)):
        yield Problem(file, member, "it must have the same ids as classification_categories", key)
    for key, text in table.items():
        for one in text.split("|") if isinstance(text, str) else [text]:  # readers part alternatives there
            yield from _description(file, f"{member}[{key}]", one)


def _description(file: str, record: str, text: Any) -> Iterator[Problem]:
    parts = text.split(";") if isinstance(text, str) else []
    if len(parts) != _PARTS:
        needed = f"{_PARTS} parts are needed: id;class;order;family;genus;species;common name"
        yield Problem(file, record, f"{needed}; readers fail on it", repr(text))
        return
    if text != text.lower():
        yield Problem(file, record, "it must be in lower case", text)
    if parts[0].strip() in _KINGDOMS:
        yield Problem(file, record, "the first part is an id, not a kingdom: the ranks begin with class", text)
    if " " in parts[5].strip():
        yield Problem(file, record, "the species is the epithet alone; readers take two words for a subspecies", text)
    if parts[5].strip() and not parts[4].strip():
        yield Problem(file, record, "a species without its genus", text, "warning")
