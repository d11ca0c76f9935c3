"""From a source's row to its label: the name cleaned and resolved, the ids, the licence and the group that it states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from bioclip_core.taxonomy import RANKS, Taxon, clean_name
from bioclip_training.catalog.names import NAME_COLUMNS, cleaned
from bioclip_training.catalog.splits import split_word

_SOURCE_IDS = (
    "occurrenceid", "treeoflifeid", "eolcontentid", "bioscanfilename", "inat21filename", "gbifid", "catalognumber", "sourceid", "id",
)  # fmt: skip
_LICENCES = ("license", "licence", "rights")
_REMEMBERED = 200_000  # distinct names kept cleaned; about 200 MB at most


class Resolution(Protocol):
    """What a taxonomy says of a name."""

    @property
    def taxon(self) -> Taxon | None: ...
    @property
    def outcome(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def taxon_id(self) -> str: ...


class Resolver(Protocol):
    """A taxonomy that is open: ``bioclip_training.taxonomy.TaxonomyIndex``."""

    def resolve(self, taxon: Taxon, verbatim: str) -> Resolution: ...


@dataclass(frozen=True, slots=True)
class Label:
    """A row's name at the end of the cleaning."""

    taxon: Taxon
    verbatim: str
    changes: tuple[str, ...]
    taxon_id: str = ""
    outcome: str = ""
    """Of the resolving; empty without a taxonomy."""
    unresolved: str = ""
    """Why no accepted name was found; empty where one was."""


class Labeller:
    """Cleans and resolves names; equal ones once."""

    def __init__(self, resolver: Resolver | None = None) -> None:
        self._resolver = resolver
        self._known: dict[tuple[tuple[str, str], ...], Label] = {}
        self.outcomes: Counter[str] = Counter()
        """Rows by what resolving their names came to."""
        self.unresolved: Counter[Label] = Counter()
        """Rows of each label that no accepted name was found for."""

    def label(self, cells: Mapping[str, Any]) -> Label:
        """The label of a row whose cells :func:`~bioclip_core.cells.plain_cells` gave."""
        key = tuple((name, str(value)) for name, value in cells.items() if name in NAME_COLUMNS)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[key] = self._resolved(cells)
        return known

    def count(self, label: Label) -> None:
        """Count one row of a label."""
        if label.outcome:
            self.outcomes[label.outcome] += 1
        if label.unresolved:
            self.unresolved[label] += 1

    def facts(self) -> dict[str, Any]:
        """As stored with the catalog; nothing without a taxonomy."""
        if self._resolver is None:
            return {}
        unresolved = {"names": len(self.unresolved), "rows": self.unresolved.total()}
        return {"resolved": dict(sorted(self.outcomes.items())), "unresolved": unresolved}

    def _resolved(self, cells: Mapping[str, Any]) -> Label:
        named = cleaned(cells)
        label = Label(replace(named.taxon, source_id=""), named.verbatim, named.changes)
        if self._resolver is None or (label.taxon.rank is None and not clean_name(label.verbatim)):
            return label
        found = self._resolver.resolve(label.taxon, label.verbatim)
        if found.taxon is None:
            return replace(label, outcome=str(found.outcome), unresolved=found.reason or str(found.outcome))
        taxon = replace(found.taxon, common_name=label.taxon.common_name or found.taxon.common_name, source_id="")
        changes = (*label.changes, *_resolving_changes(label.taxon, taxon, found.reason))
        return replace(label, taxon=taxon, changes=changes, taxon_id=found.taxon_id, outcome=str(found.outcome))


def _resolving_changes(before: Taxon, after: Taxon, reason: str) -> list[str]:
    """What a taxonomy changed: names with its reason, ranks that it filled by name."""
    pairs = list(zip(RANKS, before.lineage, after.lineage, strict=True))
    said = [reason] if any(old and old != new for _, old, new in pairs) or before.rank != after.rank else []
    filled = [f"{rank.value} {new}" for rank, old, new in pairs if new and not old]
    return [*said, *([f"filled in: {', '.join(filled)}"] if filled else [])]


def source_id(cells: Mapping[str, Any]) -> str:
    """The source's own id of the occurrence or image."""
    return next((text for name in _SOURCE_IDS if (text := clean_name_kept(cells.get(name)))), "")


def licence(cells: Mapping[str, Any]) -> str:
    """Under which the source lets the image be used, as it says it."""
    return next((text for name in _LICENCES if (text := clean_name_kept(cells.get(name)))), "")


def given_split(cells: Mapping[str, Any]) -> str:
    """The source's own word for a split; empty where it has none."""
    return split_word(cells.get("split"))


def clean_name_kept(cell: Any) -> str:
    """A cell as text, underscores and all; empty for what stands for nothing."""
    return str(cell).strip() if clean_name(cell) else ""
