"""Categories of detectors: the one place that says which words mean people, vehicles, or nothing at all."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from bioclip_core.names import verdict_of_word

CategoryKind = Literal["animal", "person", "vehicle", "blank"]


@lru_cache(4096)
def kind_of_category(category: str) -> CategoryKind:
    """Return the kind of a detector's category; a word that means nothing else is an animal, as is an empty one.

    >>> kind_of_category("Pedestrian"), kind_of_category("truck"), kind_of_category("empty"), kind_of_category("deer")
    ('person', 'vehicle', 'blank', 'animal')
    """
    word = " ".join(category.split()).casefold()
    if word == "homo sapiens":
        return "person"
    found = verdict_of_word(word) if word else None
    return found if found in ("blank", "person", "vehicle") else "animal"


def is_named(category: str) -> bool:
    """True if the model names boxes of a category: of animals, under whatever word."""
    return kind_of_category(category) == "animal"
