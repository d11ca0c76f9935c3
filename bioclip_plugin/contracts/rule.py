"""Rules: decisions made from stored answers, kept beside them. A plugin's rule is a subclass of :class:`Rule`.

A pass over a run's stored answers (:mod:`bioclip_plugin.running.rules_pass`) asks the active rules in two steps.

1. Probabilities: ``weights`` multiplies labels by place and month; a rule that ``groups`` says which images are one event and
   which of its regions are answered together, from their features.
2. Decisions: the ``decide`` of every rule is asked, in the order of ``order`` (then of names), and may replace what was
   decided before it. The first decision is the consensus: the most specific taxon that reaches the run's threshold.

The model's own answers and the reviews are only read. Each decision keeps a trail of what each rule did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from bioclip_core.errors import DataError
from bioclip_core.identity import file_sha256
from bioclip_plugin.items.media import MediaItem, Place, Region
from bioclip_plugin.items.verdicts import Verdict

if TYPE_CHECKING:  # NumPy is not needed for --help
    import numpy as np
    from numpy.typing import NDArray

    from bioclip_core.classify import Candidate
    from bioclip_core.labels.label_set import LabelSet


@dataclass(frozen=True, slots=True)
class Ruling:
    """The decision of one rule on a region: a verdict, the taxon where there is one, and what it did and why."""

    verdict: Verdict
    candidate: Candidate | None = None
    """A taxon of any rank, with its probability."""
    did: str = "decided"
    """Two or three words for the trail: ``rolled up``, ``blocked``."""
    why: str = ""
    """The rest of the sentence, for the reader of the trail."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Further entries of the trail, plain JSON."""


@dataclass(slots=True, eq=False)
class Subject:
    """One region to decide on, as the rules see it."""

    item: MediaItem
    """The image with its place and time, and all its regions in ``item.regions``."""
    region: Region | None
    """None: the whole image."""
    own: Mapping[str, Sequence[Candidate]]
    """The model's own answer: the best few of the requested rank, the best one of every other rank. Empty for a region
    that is not classified."""
    by_rank: Mapping[str, Sequence[Candidate]]
    """The answer after weights and pooling; the model's own where no rule changed it."""
    level: str
    """The requested rank."""
    threshold: float
    """Threshold of the run."""
    decided: Ruling
    """Decision of the rules before this one."""

    @property
    def classified(self) -> bool:
        """True if the model was to name it: not a person, not a vehicle, not a box below the threshold."""
        return self.region is None or self.region.classified

    @property
    def candidates(self) -> Sequence[Candidate]:
        """The best few at the requested rank, after weights and pooling."""
        return self.by_rank.get(self.level, ())


class EventKey(NamedTuple):
    """The place of an image in the stream of events."""

    group: str
    """Camera or deployment: images of different groups are never one event."""
    at_s: float | None
    """Seconds since 1970; None where it is not known, and not needed."""
    aware: bool | None
    """True if the zone of the time is known; None where that does not matter. A group with both is not put into events."""
    wall_s: float | None = None
    """Seconds of the camera's clock, where a named zone was added to it: they are in order also when the clocks change."""


@dataclass(frozen=True, slots=True)
class NoSettings:
    """The settings of a rule without settings."""


class Rule:
    """One rule with its settings. Subclass it, give it a name, and register the class with ``register_rules``."""

    name: ClassVar[str]
    """The name that ``--rule`` takes."""
    version: ClassVar[int] = 1
    """Part of every decision's identity: raise it when the same settings decide differently."""
    description: ClassVar[str] = ""
    """One line for ``rules list``."""
    order: ClassVar[int] = 50
    """Position at which ``decide`` is asked, see ``rules list``: rules that replace the consensus first, verdicts last."""
    settings_type: ClassVar[type] = NoSettings
    """A frozen dataclass. The metadata of each field have ``what``, one line for ``rules list``, and may have the limits
    that :mod:`bioclip_core.options` describes (``low``, ``high``, ``above``, ``choices``, ``check``). A file is a ``Path``."""
    groups: ClassVar[bool] = False
    """True if the rule says which images are one event; at most one active rule does."""
    weighs: ClassVar[bool] = False
    """True if the rule weighs labels."""
    decides_unclassified: ClassVar[bool] = False
    """True if the rule decides on regions that the model was not to name."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    # The methods below are defaults, which leave their arguments alone.

    def identity(self) -> dict[str, Any]:
        """Return name, version and settings as plain JSON; a file is stored by the sha256 of its bytes, not by its path.

        Raises:
            UsageError: for a file that cannot be read.
        """
        values: dict[str, Any] = {}
        for entry in fields(self.settings):
            value = getattr(self.settings, entry.name)
            values[setting_name(entry)] = f"sha256:{_sha256_of(value)}" if isinstance(value, Path) else value
        return {"name": self.name, "version": self.version, "settings": values}

    def read(self) -> None:
        """Read the files that the settings name, before anything is decided.

        Raises:
            UsageError: for content that cannot be used, with the file, the line and the value.
        """

    def notes(self, labels: LabelSet) -> list[str]:  # noqa: ARG002
        """Return sentences for the user once the labels are open, such as names of a file that the labels lack."""
        return []

    def weights(self, place: Place, labels: LabelSet) -> NDArray[np.float32] | None:  # noqa: ARG002
        """Return a factor per label for a place and month (N numbers from 0; 0 = impossible); None changes nothing.

        Return the same array for places that are alike: rows with one array are classified together.
        """
        return None

    def event_key(self, item: MediaItem) -> EventKey | None:  # noqa: ARG002
        """Return the item's place in the stream, for a rule that ``groups``; None for an item that is an event by itself."""
        return None

    def doubt(self, item: MediaItem) -> str:  # noqa: ARG002
        """Return a doubt about the item's place in the stream, in the plural, to be counted; empty without one."""
        return ""

    def joins(self, last: EventKey, key: EventKey, count: int) -> bool:  # noqa: ARG002
        """True if an item belongs to the event that has ``count`` items so far, the latest of them at ``last``."""
        return False

    def event_name(self, item: MediaItem) -> str:
        """Return the name of the event whose first item this is."""
        return item.sequence or item.uri

    def pools(self, event: Sequence[Subject]) -> list[list[int]]:  # noqa: ARG002
        """Return groups of subjects, by position, that are answered together; the others keep their own answers."""
        return []

    def decide(self, subject: Subject) -> Ruling | None:  # noqa: ARG002
        """Decide on a region; None keeps what was decided before."""
        return None


def setting_name(entry: Field[Any]) -> str:
    """Return the name of a setting as it is written; ``class``, which cannot be a field's name, is the field ``class_``."""
    return entry.name.rstrip("_")


def _sha256_of(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise DataError(f"rule file {path} cannot be read: {error.strerror or error}") from None
