"""Rule ``only``: answers are limited to the taxa of a list, and the best excluded taxon stays in the trail."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.next_commands import command
from bioclip_core.tables.reading import is_table_name
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.contracts.rule import Rule, Ruling, Subject
from bioclip_plugin.items.media import Place
from bioclip_plugin.rules.tables import missing_note, named_rows, read_text, rows_of_names

_REMEMBERED = 65_536  # taxa


@dataclass(frozen=True, slots=True)
class OnlySettings:
    """The list."""

    file: Path = field(
        metadata={"what": "A .txt with one taxon per line, or a .csv or .tsv with a column taxon or columns of ranks."}
    )


class Only(Rule):
    """Answers with the taxa of a list alone; the probabilities are a softmax over their labels."""

    name = "only"
    description = "Only the taxa of a list (of any rank) are answered; the best excluded one stays in the trail."
    order = 1
    settings_type = OnlySettings
    weighs = True

    def __init__(self, settings: OnlySettings) -> None:
        super().__init__(settings)
        self._names: list[str] = []
        self._listed: frozenset[str] = frozenset()
        self._is_listed = lru_cache(maxsize=_REMEMBERED)(self._is_named)
        self._weights_N: NDArray[np.float32] | None = None
        self._labels: LabelSet | None = None

    def read(self) -> None:
        path = self.settings.file
        if is_table_name(path):
            self._names = [name for _, name, _ in named_rows(path, "list")]
        else:
            lines = (line.strip() for line in read_text(path, "list").splitlines())
            self._names = [line for line in lines if line and not line.startswith("#")]
        if not self._names:
            raise DataError(f"list {path} is empty: write one taxon per line")
        self._listed = frozenset(" ".join(name.lower().split()) for name in self._names)

    def notes(self, labels: LabelSet) -> list[str]:
        found, missing = rows_of_names(labels, self._names)
        weights_N = np.zeros(len(labels), dtype=np.float32)
        for rows in found.values():
            weights_N[rows] = 1.0
        kept = int(np.count_nonzero(weights_N[labels.kept_N]))
        if not kept:
            raise DataError(
                f"list {self.settings.file}: the label set has none of its {len(self._names)} names; look them up with: "
                f"{command('labels doctor', labels.folder or 'LABELS', checklist=self.settings.file)}"
            )
        self._weights_N, self._labels = weights_N, labels
        count = int(labels.kept_N.sum())
        note = f"{self.settings.file.name}: {count - kept} of {count} labels are excluded"
        return [note, *missing_note(self.settings.file, missing, len(set(self._names)))]

    def weights(self, place: Place, labels: LabelSet) -> NDArray[np.float32] | None:  # noqa: ARG002 - the same everywhere
        if self._labels is not labels:
            self.notes(labels)
        return self._weights_N

    def decide(self, subject: Subject) -> Ruling | None:
        own = subject.own.get(subject.level)
        if not own or self._is_listed(own[0].taxon):
            return None
        details = {"best": own[0].name, "probability": round(own[0].probability, 4)}
        why = f"it is not on {self.settings.file.name}"
        return Ruling(subject.decided.verdict, subject.decided.candidate, "excluded", why, details)

    def _is_named(self, taxon: Taxon) -> bool:
        names = (*taxon.lineage[:6], taxon.scientific_name or taxon.common_name)
        return any(name.lower() in self._listed for name in names if name)
