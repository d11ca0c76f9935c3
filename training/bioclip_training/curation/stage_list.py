"""The list of stages, in the order in which they run."""

from __future__ import annotations

from bioclip_training.curation.catalog import CatalogStage
from bioclip_training.curation.imaging.duplicates import DuplicatesStage
from bioclip_training.curation.imaging.images import ImagesStage
from bioclip_training.curation.imaging.leakage import LeakageStage
from bioclip_training.curation.kinds import KindsStage
from bioclip_training.curation.naming.stage import NamesStage
from bioclip_training.curation.records import RecordsStage
from bioclip_training.curation.shards import ShardsStage
from bioclip_training.curation.splits import SplitsStage
from bioclip_training.curation.stages import Stage


def stages() -> tuple[Stage, ...]:
    """Return every stage, each behind those that it needs."""
    before = (RecordsStage(), NamesStage(), ImagesStage(), KindsStage(), DuplicatesStage(), LeakageStage())
    names = tuple(stage.name for stage in before)
    return (*before, SplitsStage(needs=names), CatalogStage(needs=(*names, "splits")), ShardsStage())
