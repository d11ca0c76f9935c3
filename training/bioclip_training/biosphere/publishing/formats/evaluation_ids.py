"""Identifiers of items of the evaluation sets, which leaking records share."""

from __future__ import annotations

from bioclip_training.biosphere.publishing.plan import Item

_FIRST_PAGE, _FIRST_CONTENT, _FIRST_OCCURRENCE = 45_000_000, 20_000_000, 3_000_000_000


def page_id(species: int) -> int:
    """Return the EOL page of a species of the unseen set."""
    return _FIRST_PAGE + species


def content_id(item: Item) -> int:
    """Return the EOL content of an item of the unseen set."""
    return _FIRST_CONTENT + item.number


def gbif_id(item: Item) -> int:
    """Return the gbifID of an item of the holdout."""
    return _FIRST_OCCURRENCE + item.number


def occurrence_id(item: Item) -> str:
    """Return the occurrenceID of an item of the holdout."""
    return f"https://observations.example.org/{7_000_000 + item.number}"
