"""The parts of a written name."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bioclip_core.naming.spelling import folded, key_of

HYBRID_FORMULA = "hybrid formula"
PLACEHOLDER = "a placeholder, not a name"


@dataclass(frozen=True, slots=True)
class WrittenName:
    """The parts of a name. Words are spelled as the codes of nomenclature have them: "Isoëtes" is Isoetes."""

    text: str
    genus: str = ""
    """First word of the name, capitalised and without a hybrid mark; for a name of one word, of any rank."""
    epithet: str = ""
    infraspecific: str = ""
    authorship: str = ""
    hybrid_genus: bool = False
    hybrid: bool = False
    """True if the hybrid mark is before the epithet."""
    doubt: str = ""
    """``sp.``, ``cf.``, ``aff.``, ``?``, ``/``, ``vel``, ``hybrid formula`` …: only what is read is certain, seldom more than the genus."""
    epithet_alone: bool = False
    """True for a single word in lower case: an epithet, which names nothing without its genus."""
    reading: str = ""
    """The second word as an epithet if it is capitalised ("Rosa Canina"); empty if it can only be an author."""
    doubted: str = ""
    """The epithet that a name in doubt suggests: "flava" of "Carex cf. flava"; empty if it suggests none, or several."""
    doubt_below: str = ""
    """Doubt about the name below the species alone: ``cf.`` in "Rosa canina subsp. cf. dumetorum"."""
    unread: str = ""
    """Reason why a text without a genus names no taxon; empty if it was read."""
    damaged: str = ""
    """An epithet that is not whole: ``*`` stands for its lost end ("gron…" is ``gron*``), ``?`` for lost letters ("gr?ndis")."""

    @property
    def key(self) -> str:
        """Key for lookups: lower case without accents, hyphens and hybrid marks."""
        return key_of(self.genus, self.epithet, self.infraspecific) if self.genus else folded(self.text)

    @property
    def binomial(self) -> tuple[str, str]:
        """Genus and epithet, each with its hybrid mark, as a :class:`~bioclip_core.taxonomy.Taxon` holds them."""
        return (
            f"× {self.genus}" if self.hybrid_genus else self.genus,
            f"× {self.epithet}" if self.hybrid else self.epithet,
        )

    @property
    def canonical(self) -> str:
        """The name without authorship, with its hybrid marks."""
        return " ".join(part for part in (*self.binomial, self.infraspecific) if part) if self.genus else self.text

    @property
    def in_doubt(self) -> bool:
        """True if any part of the name is in doubt."""
        return bool(self.doubt or self.doubt_below)

    def read_as_binomial(self) -> WrittenName:
        """Return the name with the capitalised second word as its epithet."""
        return replace(self, epithet=self.reading, reading="", authorship="")
