"""What an exporter is given: a run's items as they were asked for, what people said of them, and the options."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from bioclip_core.options import check_options
from bioclip_core.taxonomy import RANKS
from bioclip_plugin.contracts.export_options import ExportOptions

if TYPE_CHECKING:
    from bioclip_plugin.store import Review, Run, Store, StoredItem, StoredRegion

_PAGE = 500  # items whose reviews are read in one query


@dataclass(frozen=True, slots=True)
class Selection:
    """Which items of a run are meant; nothing set means all."""

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
        """The item with those of its regions that are meant; None where it is not meant at all."""
        if self.since and (item.item.captured_at is None or item.item.captured_at.date() < self.since):
            return None
        if not self.taxa and self.min_probability is None:
            return item
        regions = [region for region in item.regions if self._takes(region)]
        return item._replace(regions=regions) if regions else None

    def _takes(self, region: StoredRegion) -> bool:
        best = _best(region)
        if best is None:
            return False
        if self.min_probability is not None and best.probability < self.min_probability:
            return False
        if not self.taxa:
            return True
        taxon = best.taxon
        names = {
            name.casefold() for name in (*taxon.lineage, taxon.scientific_name, taxon.common_name, best.name) if name
        }
        return any(wanted.casefold() in names for wanted in self.taxa)


def _best(region: StoredRegion) -> Any:
    """What a region is named as; None where nothing was answered, or a rule decided that there is no name for it."""
    if region.consensus is not None:
        return region.consensus
    if region.decision is not None and region.decision.trail:
        return None
    for rank in (*(rank.value for rank in reversed(RANKS)), "label"):
        if candidates := region.by_rank.get(rank):
            return candidates[0]
    return None


@dataclass(frozen=True)
class Export:
    """One export: what, out of which run, and how."""

    store: Store
    run: Run
    options: ExportOptions = field(default_factory=ExportOptions)
    selection: Selection = field(default_factory=Selection)
    on_item: Callable[[int], None] | None = None
    """Told how many items were read, for progress; an exporter that reads them twice counts twice."""

    @property
    def store_name(self) -> str:
        """The store's address without secrets."""
        return self.store.shown_address

    @property
    def moment(self) -> datetime:
        """The run's moment (UTC), for wherever a file states when it was made: the same store gives the same bytes."""
        return self.run.ended_at or self.run.begun_at

    @property
    def classified_by(self) -> str:
        """The machine's name in files of other programs."""
        model = self.run.provenance.get("model", {})
        name = model.get("name") or self.run.settings.get("model") or "BioCLIP"
        return f"{name} (bioclip-plugin {self.run.provenance.get('bioclip_plugin', '')})".replace(" )", ")")

    def items(self, ranks: Collection[str] | None = None) -> Iterator[StoredItem]:
        """The items that are meant, in listing order, with their regions; may be called again.

        Args:
            ranks: the levels whose candidates the format has a use for; None: all. Fewer are read faster.
        """
        for number, item in enumerate(self.store.items_of(self.run, ranks=ranks), start=1):
            if self.on_item:
                self.on_item(number)
            chosen = self.selection.of(item) if self.selection else item
            if chosen is not None:
                yield chosen

    def reviews_of(self, items: Sequence[StoredItem]) -> Mapping[tuple[str, int], list[Review]]:
        """What people said of these images and their regions, oldest first, by uri and frame."""
        return self.store.reviews_of([(item.item.uri, item.item.frame) for item in items])

    def reviewed_items(self, ranks: Collection[str] | None = None) -> Iterator[tuple[StoredItem, list[Review]]]:
        """Yield what :meth:`items` yields, each item with the reviews of its image and regions, oldest first."""
        items = self.items(ranks)
        while page := list(islice(items, _PAGE)):
            reviews = self.reviews_of(page)
            for stored in page:
                yield stored, reviews.get((stored.item.uri, stored.item.frame), [])

    def event_reviews(self) -> Iterator[Review]:
        """What people said of events, oldest first."""
        return (review for review in self.store.reviews() if review.target.kind == "event")

    def with_options(self, **changes: Any) -> Export:
        """The same with other options."""
        return replace(self, options=replace(self.options, **changes))
