"""Every type that a hook's signature has, and every interface that a plugin implements: one import for plugin authors."""

from __future__ import annotations

from bioclip_core.encoder import Encoder
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.models import ModelEntry, PublishedLabels
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.exporter import Exporter, FolderExporter, RememberingExporter
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.contracts.rule import EventKey, Rule, Ruling, Subject
from bioclip_plugin.contracts.source import ListingOptions, ReviewingSource, Source
from bioclip_plugin.items.answers import Answer, Failure, RegionAnswer
from bioclip_plugin.items.media import MediaItem, Place, Region, Unlisted
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.items.verdicts import ReviewVerdict, Verdict
from bioclip_plugin.store.records import Run, StatedReview
from bioclip_training.loop.recipe import TrainConfig, TrainResult

__all__ = [
    "Answer",
    "ClassifyRequest",
    "Encoder",
    "EventKey",
    "Export",
    "ExportOptions",
    "Exporter",
    "Failure",
    "FolderExporter",
    "LabelSet",
    "ListingOptions",
    "MediaItem",
    "ModelEntry",
    "Place",
    "Problem",
    "PublishedLabels",
    "Region",
    "RegionAnswer",
    "RememberingExporter",
    "ReviewVerdict",
    "ReviewingSource",
    "Rule",
    "Ruling",
    "Run",
    "Source",
    "StatedReview",
    "Subject",
    "TrainConfig",
    "TrainResult",
    "Unlisted",
    "Verdict",
]
