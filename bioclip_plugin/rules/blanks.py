"""Rule ``blanks``: blank images, people and vehicles, from the detector's boxes and from labels of those names."""

from __future__ import annotations

from dataclasses import dataclass, field

from bioclip_core.classify import Candidate
from bioclip_core.names import verdict_of_word
from bioclip_plugin.contracts.rule import Rule, Ruling, Subject
from bioclip_plugin.items.categories import kind_of_category
from bioclip_plugin.items.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class BlankSettings:
    """The confidence of a box that holds something."""

    confidence: float = field(
        default=0.2,
        metadata={"what": "Confidence of the detector below which a box holds nothing.", "above": 0, "high": 1},
    )


class Blanks(Rule):
    """Boxes below the confidence are blank; people and vehicles are named by the detector or by the label of the answer."""

    name = "blanks"
    description = "Boxes below a confidence are blank; people and vehicles are kept as such, by box or by label."
    order = 80
    settings_type = BlankSettings
    decides_unclassified = True

    def decide(self, subject: Subject) -> Ruling | None:
        region = subject.region
        if region is not None:
            if region.confidence is not None and region.confidence < self.settings.confidence:
                why = f"the detector's confidence {region.confidence:g} is below {self.settings.confidence:g}"
                return Ruling("blank", None, "made blank", why)
            kind = kind_of_category(region.category)
            if kind != "animal":
                return Ruling(kind, None, f"made {kind}", f"the detector calls it {region.category}")
        if not subject.classified:
            return Ruling("unknown", None, "left open", "the model was not asked for it")
        verdict = _verdict_of(subject.decided.candidate)
        if verdict is None:
            return None
        return Ruling(verdict, subject.decided.candidate, f"made {verdict}", "the label says so")


def _verdict_of(candidate: Candidate | None) -> Verdict | None:
    if candidate is None or candidate.rank not in ("species", "label", "group"):
        return None
    return _of_word(candidate.name) or _of_word(candidate.taxon.common_name)


def _of_word(word: str) -> Verdict | None:
    if word.lower() == "homo sapiens":
        return "person"
    found = verdict_of_word(word) if word else None
    return found if found in ("blank", "person", "vehicle") else None
