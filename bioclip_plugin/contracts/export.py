"""Input of an exporter: the selected items of a run, their reviews, and the options."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_core.findings import Findings
from bioclip_core.options import check_options
from bioclip_core.taxonomy import RANKS
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.run_deployments import deployments_of
from bioclip_plugin.items.finding_deployments import Deployments
from bioclip_plugin.items.media import path_of

if TYPE_CHECKING:
    from bioclip_core.classify import Candidate
    from bioclip_plugin.store import Review, Run, Store, StoredItem, StoredRegion

_PAGE = 500  # items whose reviews are read in one query


@dataclass(frozen=True, slots=True)
class Selection:
    """Selection of the items and regions of a run; all of them if nothing is set."""

    since: date | None = None
    """Only images captured on this day (2024-05-31) or later.

    The day is the camera's; items without a capture time are left out.
    """
    taxa: tuple[str, ...] = field(default=(), metadata={"flag": "--taxon"})
    """Only regions named as this taxon, of any rank, or below it.

    A scientific or common name, in any letter case.
    """
    min_probability: float | None = field(default=None, metadata={"low": 0, "high": 1})
    """Only regions whose name has at least this probability.

    The name is the decision, or the best candidate where no rule and no consensus decided.
    """

    def __post_init__(self) -> None:
        check_options(self)

    def __bool__(self) -> bool:
        return bool(self.since or self.taxa or self.min_probability is not None)

    def of(self, item: StoredItem) -> StoredItem | None:
        """Return the item with its selected regions; None if the item is not selected."""
        if self.since and (item.item.captured_at is None or item.item.captured_at.date() < self.since):
            return None
        if not self.taxa and self.min_probability is None:
            return item
        regions = [region for region in item.regions if self._takes(region)]
        return item._replace(regions=regions) if regions else None

    def _takes(self, region: StoredRegion) -> bool:
        best = _best(region)
        if best is None or best.probability < (self.min_probability or 0):
            return False
        names = (*best.taxon.lineage, best.taxon.scientific_name, best.taxon.common_name, best.name)
        wanted = {name.casefold() for name in self.taxa} - {""}
        return not self.taxa or any(name.casefold() in wanted for name in names)


def _best(region: StoredRegion) -> Candidate | None:
    """Return the name of a region; None without an answer, or where a rule took its name away."""
    if region.consensus is not None or (region.decision is not None and region.decision.trail):
        return region.consensus
    ranks = (*(rank.value for rank in reversed(RANKS)), "label")
    return next((region.by_rank[rank][0] for rank in ranks if region.by_rank.get(rank)), None)


@dataclass(frozen=True)
class Export:
    """One export: items, run and options."""

    store: Store
    run: Run
    options: ExportOptions = field(default_factory=ExportOptions)
    selection: Selection = field(default_factory=Selection)
    findings: Findings = field(default_factory=Findings)
    """Values that the format cannot hold, and settings without effect; the command prints them at the end."""
    file_of: Callable[[str], Path] = path_of
    """Return the file of an image by its uri, which may be relative to the folder in which the run was made."""
    with_deployments: bool = True
    """False for a format that names no deployment: without a table or a pattern its items are given as they are stored,
    which is faster."""
    on_item: Callable[[int], None] | None = None
    """Called with the number of items read, for progress; an exporter that reads them twice counts twice."""

    @property
    def moment(self) -> datetime:
        """Time of the run (UTC), for files that state when they were made: the same store gives the same bytes."""
        return self.run.ended_at or self.run.begun_at

    @property
    def classified_by(self) -> str:
        """Name of the model in files of other programs."""
        model = self.run.provenance.get("model", {})
        name = model.get("name") or self.run.settings.get("model") or "BioCLIP"
        return f"{name} (bioclip-plugin {self.run.provenance.get('bioclip_plugin', '')})".replace(" )", ")")

    @cached_property
    def deployments(self) -> Deployments:
        """The deployments of the run's images."""
        found = deployments_of(self.store, self.run, self.options, self.findings)
        found.survey(self.findings, self.options.time_zone)
        return found

    def completed(self, stored: StoredItem) -> StoredItem:
        """Return an item with its deployment, and with the time and place that the table of deployments gives it."""
        if not (self.with_deployments or self._has_options):
            return stored
        return stored._replace(item=self.deployments.completed(stored.item))

    @cached_property
    def _has_options(self) -> bool:
        return bool(self.options.or_those_of(self.run.settings).settings())

    def items(self, ranks: Collection[str] | None = None) -> Iterator[StoredItem]:
        """Yield the selected items in listing order, with their regions; may be called again.

        Args:
            ranks: the ranks whose candidates the format uses; None: all. Fewer are read faster.
        """
        return (chosen for _, chosen in self.whole_items(ranks) if chosen is not None)

    def whole_items(self, ranks: Collection[str] | None = None) -> Iterator[tuple[StoredItem, StoredItem | None]]:
        """Yield all items, each with all its regions and with the selected ones; None for an item that is not selected."""
        for number, item in enumerate(self.store.items_of(self.run, ranks=ranks), start=1):
            if self.on_item:
                self.on_item(number)
            item = self.completed(item)
            yield item, self.selection.of(item) if self.selection else item

    def reviews_of(self, items: Sequence[StoredItem]) -> Mapping[tuple[str, int], list[Review]]:
        """Return the reviews of these images and their regions, oldest first, by uri and frame."""
        return self.store.reviews_of([(item.item.uri, item.item.frame) for item in items])

    def reviewed_items(self, ranks: Collection[str] | None = None) -> Iterator[tuple[StoredItem, list[Review]]]:
        """Yield the selected items, each with the reviews of its image and regions, oldest first."""
        items = self.items(ranks)
        while page := list(islice(items, _PAGE)):
            reviews = self.reviews_of(page)
            for stored in page:
                yield stored, reviews.get((stored.item.uri, stored.item.frame), [])

    def event_reviews(self) -> Iterator[Review]:
        """Yield the reviews of events, oldest first."""
        return (review for review in self.store.reviews() if review.target.kind == "event")
