"""Everything that a plugin author imports: the types in the hooks' signatures, the interfaces that a plugin implements, and
the errors that it raises.
"""

from __future__ import annotations

from bioclip_core.encoder import Encoder
from bioclip_core.errors import (
    BioclipError,
    DataError,
    ImageError,
    InstallationError,
    LabelSetError,
    ModelError,
    ModelUnavailable,
    NoTextTower,
    PluginError,
    SourceError,
    StoreError,
    UnknownModel,
    UnsafeWeights,
    UsageError,
)
from bioclip_core.labels.checklist import NameIndex
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.models import ModelEntry, PublishedLabels
from bioclip_plugin.contracts.detector import (
    ChoosableDetector,
    DescribedDetector,
    Detection,
    Detector,
    FetchingDetector,
    OptionalDetector,
)
from bioclip_plugin.contracts.engine import ExecutionEngine, OptionalEngine, ShardJob, ShardResult, ShardWorker
from bioclip_plugin.contracts.export import Export, Selection
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.exporter import (
    Exporter,
    FolderExporter,
    NestedFolderExporter,
    RememberingExporter,
    SelectiveExporter,
)
from bioclip_plugin.contracts.manager import BioclipPluginManager, LoadFailure
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.contracts.review_items import ReviewItems
from bioclip_plugin.contracts.rule import EventKey, Rule, Ruling, Subject
from bioclip_plugin.contracts.source import ListingOptions, ReviewingSource, Source, TemporaryFolders
from bioclip_plugin.items.answers import Answer, Failure, RegionAnswer
from bioclip_plugin.items.media import MediaItem, Place, Region, Unlisted, path_of, uri_of
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.items.verdicts import ReviewVerdict, Verdict
from bioclip_plugin.store.records import ReviewTarget, Run, StatedReview
from bioclip_training.curation.content_filters import ContentFilter, FilterOptions, FilterRecord, OpenedFilter
from bioclip_training.loop.plan_record import TrainingPlan
from bioclip_training.loop.recipe import TrainConfig, TrainingProgress, TrainResult

__all__ = [
    "Answer",
    "BioclipError",
    "BioclipPluginManager",
    "ChoosableDetector",
    "ClassifyRequest",
    "ContentFilter",
    "DataError",
    "DescribedDetector",
    "Detection",
    "Detector",
    "Encoder",
    "EventKey",
    "ExecutionEngine",
    "Export",
    "ExportOptions",
    "Exporter",
    "Failure",
    "FetchingDetector",
    "FilterOptions",
    "FilterRecord",
    "FolderExporter",
    "ImageError",
    "InstallationError",
    "LabelSet",
    "LabelSetError",
    "ListingOptions",
    "LoadFailure",
    "MediaItem",
    "ModelEntry",
    "ModelError",
    "ModelUnavailable",
    "NameIndex",
    "NestedFolderExporter",
    "NoTextTower",
    "OpenedFilter",
    "OptionalDetector",
    "OptionalEngine",
    "Place",
    "PluginError",
    "Problem",
    "PublishedLabels",
    "Region",
    "RegionAnswer",
    "RememberingExporter",
    "ReviewItems",
    "ReviewTarget",
    "ReviewVerdict",
    "ReviewingSource",
    "Rule",
    "Ruling",
    "Run",
    "Selection",
    "SelectiveExporter",
    "ShardJob",
    "ShardResult",
    "ShardWorker",
    "Source",
    "SourceError",
    "StatedReview",
    "StoreError",
    "Subject",
    "TemporaryFolders",
    "TrainConfig",
    "TrainResult",
    "TrainingPlan",
    "TrainingProgress",
    "UnknownModel",
    "Unlisted",
    "UnsafeWeights",
    "UsageError",
    "Verdict",
    "path_of",
    "uri_of",
]
