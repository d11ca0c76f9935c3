"""Rules: what is made of stored answers, beside them. A plugin's rule is a subclass of :class:`Rule`.

A pass over a run's stored answers (:mod:`bioclip_plugin.running.rules_pass`) asks the active rules in two steps.

1. What the probabilities are: ``weights`` multiplies labels by place and month; a rule that ``groups`` says which images
   are one event and which of its regions are answered together, from their features.
2. What is decided: every rule's ``decide`` is asked, in the order of ``order`` (then of names), and may replace what was
   decided before it. The first decision is the consensus: the most specific taxon that reaches the run's threshold.

The model's own answers and what people said are only read. Each decision keeps a trail of what each rule did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from bioclip_core.errors import UsageError
from bioclip_core.identity import file_sha256
from bioclip_plugin.items.verdicts import Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_core.classify import Candidate
    from bioclip_core.labels.label_set import LabelSet
    from bioclip_plugin.items.media import MediaItem, Place, Region


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one rule makes of a region: a verdict, the taxon where there is one, and what it did and why."""

    verdict: Verdict
    candidate: Candidate | None = None
    """With its probability; a taxon of any rank."""
    did: str = "decided"
    """Two or three words for the trail: ``rolled up``, ``blocked``."""
    why: str = ""
    """The rest of the sentence, for a person."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """More for the trail, plain JSON."""


@dataclass(slots=True, eq=False)
class Subject:
    """One region that is decided on, as the rules see it."""

    item: MediaItem
    """With its place and time, and all its regions in ``item.regions``."""
    region: Region | None
    """None: the whole image."""
    own: Mapping[str, Sequence[Candidate]]
    """The model's own answer: of the rank that was asked the best few, of every other rank the best one. Empty for a
    region that is not classified."""
    by_rank: Mapping[str, Sequence[Candidate]]
    """The answer after weights and pooling; the model's own where no rule touched it."""
    level: str
    """The rank that was asked."""
    threshold: float
    """The run's."""
    decided: Ruling
    """What the rules before this one decided."""

    @property
    def classified(self) -> bool:
        """Whether the model was to name it: not a person, not a vehicle, not a box below the threshold."""
        return self.region is None or self.region.classified

    @property
    def candidates(self) -> Sequence[Candidate]:
        """The best few at the rank that was asked, after weights and pooling."""
        return self.by_rank.get(self.level, ())


class EventKey(NamedTuple):
    """Where in the stream of events an image stands."""

    group: str
    """Images of different groups (cameras, deployments) are never one event."""
    at_s: float | None
    """Seconds since 1970; None where it is not known, and not needed."""
    aware: bool | None
    """Whether the time's zone is known, which it is for all of a group or none; None where that does not matter."""


@dataclass(frozen=True, slots=True)
class NoSettings:
    """Of a rule that has none."""


class Rule:
    """One rule with its settings. Subclass it, give it a name, and register the class with ``register_rules``."""

    name: ClassVar[str]
    """What ``--rule`` takes."""
    version: ClassVar[int] = 1
    """Part of every decision's identity: raise it when the same settings decide otherwise."""
    description: ClassVar[str] = ""
    """One line for ``rules list``."""
    order: ClassVar[int] = 50
    """When ``decide`` is asked: see ``rules list``. Rules that replace the consensus come first, verdicts last."""
    settings_type: ClassVar[type] = NoSettings
    """A frozen dataclass; each field with ``metadata={"what": "..."}``: one line for ``rules list``. A file is a ``Path``."""
    groups: ClassVar[bool] = False
    """Whether it says which images are one event; one active rule at most does."""
    weighs: ClassVar[bool] = False
    """Whether it weighs labels."""
    decides_unclassified: ClassVar[bool] = False
    """Whether it decides on regions that the model was not to name."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def identity(self) -> dict[str, Any]:
        """Name, version and settings as plain JSON; a file stands there by the sha256 of its bytes, not by its path."""
        return {"name": self.name, "version": self.version, "settings": stored_settings(self.settings)}

    def read(self) -> None:
        """Read the files that the settings name, and refuse what is wrong in them, before anything is decided.

        Raises:
            UsageError: with the file, the line and the value.
        """

    def notes(self, labels: LabelSet) -> list[str]:
        """Sentences for the person who applies the rule, once the labels are open: names of a file that they lack."""
        del labels
        return []

    def weights(self, place: Place, labels: LabelSet) -> NDArray[np.float32] | None:
        """A factor a label for a place and month (N numbers from 0; 0 = impossible), None to leave them as they are.

        Give the same array for places that are alike: rows with one array are classified together.
        """
        del place, labels
        return None

    def event_key(self, item: MediaItem) -> EventKey | None:
        """For a rule that ``groups``: the item's place in the stream; None for an item that stands alone."""
        del item
        return None

    def joins(self, last: EventKey, key: EventKey, count: int) -> bool:
        """Whether an item belongs to the event that has ``count`` items by now, the latest of them at ``last``."""
        del last, key, count
        return False

    def event_name(self, item: MediaItem) -> str:
        """The name of the event whose first item this is."""
        return item.sequence or item.uri

    def pools(self, event: Sequence[Subject]) -> list[list[int]]:
        """The subjects of an event (by place) that are answered together; those left out keep their own answers."""
        del event
        return []

    def decide(self, subject: Subject) -> Ruling | None:
        """Decide on a region, or None to leave what was decided before."""
        del subject
        return None


def stored_settings(settings: Any) -> dict[str, Any]:
    """Settings as plain JSON, for identities and the store: files by their contents, so that a moved file is the same.

    Raises:
        UsageError: for a file that cannot be read.
    """
    values: dict[str, Any] = {}
    for one in fields(settings):
        value = getattr(settings, one.name)
        values[_key(one)] = f"sha256:{sha256_of(value)}" if isinstance(value, Path) else value
    return values


def _key(one: Field[Any]) -> str:
    """A setting as it is written: ``class`` is no name that a field may have."""
    return one.name.rstrip("_")


def sha256_of(path: Path) -> str:
    """Sha256 of a file that a setting names.

    Raises:
        UsageError: if it cannot be read.
    """
    try:
        return file_sha256(path)
    except OSError as error:
        raise UsageError(f"rule file {path} cannot be read: {error.strerror or error}") from None
