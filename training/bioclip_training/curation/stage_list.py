"""The list of stages, in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping

from bioclip_core.models import ModelEntry
from bioclip_training.curation.catalog import CatalogStage
from bioclip_training.curation.content_filters import ContentFilter
from bioclip_training.curation.imaging.duplicates import DuplicatesStage
from bioclip_training.curation.imaging.filters import FiltersStage, built_in_filters
from bioclip_training.curation.imaging.images import ImagesStage
from bioclip_training.curation.imaging.leakage import LeakageStage
from bioclip_training.curation.kinds import KindsStage
from bioclip_training.curation.naming.stage import NamesStage
from bioclip_training.curation.records import RecordsStage
from bioclip_training.curation.shards import ShardsStage
from bioclip_training.curation.splits import SplitsStage
from bioclip_training.curation.stages import Stage


def stages(
    filters: Mapping[str, ContentFilter] | None = None, models: Mapping[str, ModelEntry] | None = None
) -> tuple[Stage, ...]:
    """Return every stage, each behind those that it needs.

    Args:
        filters: content filters by name; None: those of this package.
        models: registered models by name, for filters.
    """
    filtering = FiltersStage(built_in_filters() if filters is None else filters, models or {})
    before = (
        RecordsStage(), NamesStage(), ImagesStage(), KindsStage(), filtering,
        DuplicatesStage(), LeakageStage(),
    )  # fmt: skip
    names = tuple(stage.name for stage in before)
    return (*before, SplitsStage(needs=names), CatalogStage(needs=(*names, "splits")), ShardsStage())
