"""Summary of a pass of rules: counts per rule, and the clearest examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bioclip_core.nouns import number_of
from bioclip_plugin.contracts.rule import Ruling, Subject

_EXAMPLES = 3


@dataclass(eq=False)
class Applied:
    """Counts of one pass of rules."""

    images: int = 0
    regions: int = 0
    changed: int = 0
    """Regions whose decision differs from the plain consensus."""
    events: int = 0
    pooled: int = 0
    """Events that were answered together."""
    divided: int = 0
    """Pooled events that held several taxa."""
    verdicts: Counter[str] = field(default_factory=Counter)
    by_rule: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Number of regions by (rule, what it did)."""
    notes: list[str] = field(default_factory=list)
    """Names of the rules' files that the labels lack."""
    _examples: dict[str, list[tuple[float, str]]] = field(default_factory=dict)

    def count(self, subject: Subject, plain: Ruling, trail: Sequence[Mapping[str, Any]]) -> None:
        """Count the decision on one region."""
        decided = subject.decided
        self.regions += 1
        self.verdicts[decided.verdict] += 1
        for entry in trail:
            self.by_rule[entry["rule"], entry["did"]] += 1
        if same_answer(plain, decided):
            return
        self.changed += 1
        rule = next((entry["rule"] for entry in reversed(trail) if "from" in entry), "rules")
        kept = self._examples.setdefault(rule, [])
        sure = max(ruling.candidate.probability if ruling.candidate else 0.0 for ruling in (plain, decided))
        if len(kept) == _EXAMPLES and sure <= kept[-1][0]:
            return  # the examples with the surest answer, before or after, are kept
        frame = f" (frame {subject.item.frame})" if subject.item.frame else ""
        kept.append((sure, f"{subject.item.uri}{frame}: {_shown(plain)} -> {_shown(decided)}"))
        kept.sort(key=lambda entry: -entry[0])
        del kept[_EXAMPLES:]

    def examples(self, rule: str) -> list[str]:
        """Return the surest changes of a rule."""
        return [text for _, text in self._examples.get(rule, [])]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON, for the run's counts and ``--json``."""
        rules: dict[str, dict[str, int]] = {}
        for (rule, did), number in sorted(self.by_rule.items()):
            rules.setdefault(rule, {})[did] = number
        return {
            "images": self.images, "regions": self.regions, "changed": self.changed, "verdicts": dict(sorted(self.verdicts.items())),
            "events": self.events, "pooled_events": self.pooled, "divided_events": self.divided, "rules": rules,
            "notes": self.notes, "examples": {rule: self.examples(rule) for rule in sorted(self._examples)},
        }  # fmt: skip

    def lines(self) -> Iterator[str]:
        """Yield the summary line by line."""
        if not self.regions:
            yield "Rules: every region was decided already."
            return
        yield from (f"Note: {note}" for note in self.notes)
        verdicts = ", ".join(f"{number} {verdict}" for verdict, number in self.verdicts.most_common())
        yield (
            f"Rules: {number_of(self.regions, 'region')} of {number_of(self.images, 'image')} decided ({verdicts}); {self.changed} "
            f"{'is' if self.changed == 1 else 'are'} another answer than the consensus alone"
        )
        if self.events:
            several = f", {self.divided} of them taxon by taxon" if self.divided else ""
            yield f"  {number_of(self.events, 'event')}, {self.pooled} with several regions answered together{several}"
        for (rule, did), number in sorted(self.by_rule.items()):
            yield f"  {rule}: {did} {number}"
        for rule in sorted(self._examples):
            yield from (f"    {rule}: {text}" for text in self.examples(rule))


def same_answer(one: Ruling, other: Ruling) -> bool:
    """True if two decisions name the same thing; the probability may differ."""
    if one.verdict != other.verdict:
        return False
    first, second = one.candidate, other.candidate
    if first is None or second is None:
        return first is second
    return first.taxon is second.taxon or (first.rank == second.rank and first.taxon == second.taxon)


def _shown(ruling: Ruling) -> str:
    if ruling.candidate is None:
        return ruling.verdict
    return f"{ruling.candidate.name} {ruling.candidate.probability:.2f}"
