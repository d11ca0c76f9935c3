"""Words that reviewers write instead of a taxon, and what each means to the store."""

from __future__ import annotations

from bioclip_plugin.items.verdicts import ReviewVerdict

_WORDS: dict[str, ReviewVerdict] = {
    **dict.fromkeys(("taxon", "animal", "plant", "organism"), "taxon"),
    **dict.fromkeys(("blank", "empty", "noanimal", "nothing", "misfire", "falsetrigger", "ghost"), "blank"),
    **dict.fromkeys(("person", "human", "people", "humans", "homosapiens"), "person"),
    **dict.fromkeys(("vehicle", "vehicles", "car", "cars"), "vehicle"),
    **dict.fromkeys(
        ("unidentifiable", "unidentified", "unknown", "indet", "indeterminate", "cannottell", "?"), "unidentifiable"
    ),
    "notinlabelset": "not_in_label_set",
}  # fmt: skip

# May mean "no animal in it" as well as "nobody looked at it": whoever wrote it has to say which.
AMBIGUOUS = frozenset(("none", "n/a", "na", "null", "unclassified", "-"))


def squeezed(text: str) -> str:
    """Text without case, white space, underscores and hyphens between letters, for comparing words and columns' names.

    >>> squeezed("Not in_label-set")
    'notinlabelset'
    """
    plain = "".join(text.lower().split()).replace("_", "")
    return plain.replace("-", "") if len(plain) > 1 else plain


def verdict_of(word: str) -> ReviewVerdict | None:
    """The verdict that a word means; None where it is none of them, such as a taxon's name."""
    return _WORDS.get(squeezed(word).rstrip("."))


def verdict_words() -> str:
    """The verdicts, for messages."""
    return "taxon, blank, person, vehicle, unidentifiable or not_in_label_set"
