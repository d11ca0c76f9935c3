"""German common names, word by word from the English ones."""

from __future__ import annotations

_WORDS = {
    "dark": "Dunkel", "pale": "Hell", "bright": "Bunt", "headed": "kopf", "tailed": "schwanz", "legged": "bein", "bellied": "bauch",
    "barred": "Streifen", "spotted": "Tupfen", "striped": "Linien", "saddled": "Sattel", "ringed": "Ringel", "half": "Halb",
    "cloaked": "mantel", "netted": "Netz", "arrowed": "Pfeil", "mask": "masken", "rump": "rücken", "sock": "socken", "vest": "westen",
}  # fmt: skip


def german(english: str) -> str:
    """Return the German form of a common name: "dark-headed grolbet" is the Dunkelkopf-Grolbet."""
    *adjectives, noun = english.split(" ") if english else [""]
    first = "".join(_WORDS.get(word, word) for adjective in adjectives for word in adjective.split("-"))
    return f"{first.capitalize()}-{noun.capitalize()}" if first else noun.capitalize()
