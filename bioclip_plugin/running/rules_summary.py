"""What a pass of rules did, for people: counts a rule, and the clearest examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bioclip_plugin.contracts.rule import Ruling, Subject

_EXAMPLES = 3


@dataclass(eq=False)
class Applied:
    """Counts of one pass."""

    images: int = 0
    regions: int = 0
    changed: int = 0
    """Regions whose decision is another than the plain consensus would be."""
    events: int = 0
    pooled: int = 0
    """Events that were answered together."""
    divided: int = 0
    """Pooled events that held several taxa."""
    verdicts: Counter[str] = field(default_factory=Counter)
    by_rule: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many regions each (rule, what it did) was noted for."""
    notes: list[str] = field(default_factory=list)
    """What the rules' files lack."""
    _examples: dict[str, list[tuple[float, str]]] = field(default_factory=dict)

    def count(self, subject: Subject, plain: Ruling, trail: Sequence[Mapping[str, Any]]) -> None:
        """Count one region's decision."""
        decided = subject.decided
        self.regions += 1
        self.verdicts[decided.verdict] += 1
        for entry in trail:
            self.by_rule[entry["rule"], entry["did"]] += 1
        if same_answer(plain, decided):
            return
        self.changed += 1
        deciding = next((entry["rule"] for entry in reversed(trail) if "from" in entry), "rules")
        self._keep(deciding, subject, plain)

    def _keep(self, rule: str, subject: Subject, plain: Ruling) -> None:
        """Keep the examples that are surest, before or after."""
        sure = max(_sure(plain), _sure(subject.decided))
        kept = self._examples.setdefault(rule, [])
        if len(kept) == _EXAMPLES and sure <= kept[-1][0]:
            return
        frame = f" (frame {subject.item.frame})" if subject.item.frame else ""
        kept.append((sure, f"{subject.item.uri}{frame}: {_said(plain)} -> {_said(subject.decided)}"))
        kept.sort(key=lambda entry: -entry[0])
        del kept[_EXAMPLES:]

    def examples(self, rule: str) -> list[str]:
        """The surest changes of a rule."""
        return [text for _, text in self._examples.get(rule, [])]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON, for the run's counts and ``--json``."""
        rules: dict[str, dict[str, int]] = {}
        for (rule, did), number in sorted(self.by_rule.items()):
            rules.setdefault(rule, {})[did] = number
        return {
            "images": self.images, "regions": self.regions, "changed": self.changed, "verdicts": dict(sorted(self.verdicts.items())),
            "events": self.events, "pooled_events": self.pooled, "divided_events": self.divided, "rules": rules,
            "notes": self.notes, "examples": {rule: self.examples(rule) for rule in sorted(self._examples)},
        }  # fmt: skip

    def lines(self) -> Iterator[str]:
        """The summary a line at a time."""
        if not self.regions:
            yield "Rules: every region was decided already."
            return
        yield from (f"Note: {note}" for note in self.notes)
        verdicts = ", ".join(f"{number} {verdict}" for verdict, number in self.verdicts.most_common())
        yield (
            f"Rules: {self.regions} regions of {self.images} images decided ({verdicts}); {self.changed} are another answer "
            "than the consensus alone"
        )
        if self.events:
            several = f", {self.divided} of them taxon by taxon" if self.divided else ""
            yield f"  {self.events} events, {self.pooled} with several regions answered together{several}"
        for (rule, did), number in sorted(self.by_rule.items()):
            yield f"  {rule}: {did} {number}"
        for rule in sorted(self._examples):
            yield from (f"    {rule}: {text}" for text in self.examples(rule))


def same_answer(one: Ruling, other: Ruling) -> bool:
    """Whether two decisions name the same thing; the probability may differ."""
    if one.verdict != other.verdict:
        return False
    first, second = one.candidate, other.candidate
    if first is None or second is None:
        return first is second
    return first.taxon is second.taxon or (first.rank == second.rank and first.taxon == second.taxon)


def _sure(ruling: Ruling) -> float:
    return ruling.candidate.probability if ruling.candidate is not None else 0.0


def _said(ruling: Ruling) -> str:
    if ruling.candidate is None:
        return ruling.verdict
    return f"{ruling.candidate.name} {ruling.candidate.probability:.2f}"
