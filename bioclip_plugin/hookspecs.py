"""Every hook: its signature and types, and one sentence. Implement one with ``@bioclip_plugin.hookimpl``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import pluggy

from bioclip_plugin.contracts.manager import PROJECT

if TYPE_CHECKING:
    import click
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from bioclip_plugin.plugin_api import (
        Answer,
        ClassifyRequest,
        ContentFilter,
        Detector,
        ExecutionEngine,
        Exporter,
        LabelSet,
        ListingOptions,
        MediaItem,
        ModelEntry,
        Place,
        ReviewItems,
        Rule,
        Run,
        Source,
        TrainConfig,
        TrainingPlan,
        TrainResult,
        Unlisted,
    )

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

# classify_images and embed_images are doors for hosts: the command line and Session do not ask them. To replace how images
# are answered everywhere, for example by a remote service, register a model with an encoder of its own (register_models,
# ModelEntry.open_encoder): the command line, Session and these hooks all use it.


@hookspec(firstresult=True)
def classify_images(items: Sequence[MediaItem | str], request: ClassifyRequest) -> list[Answer] | None:
    """Answer a host's batch: one answer per item, in order; an unreadable image is an answer with a failure."""


@hookspec(firstresult=True)
def embed_images(items: Sequence[MediaItem | str], request: ClassifyRequest) -> list[NDArray[np.float16] | None] | None:
    """Return a host's features: per item one row per region (R×D, L2-normalised), None for an unreadable image."""


@hookspec(firstresult=True)
def train_model(config: TrainConfig) -> TrainResult | None:
    """Train a model on a collection, or continue an interrupted training; the result is the folder of a checkpoint."""


@hookspec(firstresult=True)
def plan_training(config: TrainConfig) -> TrainingPlan | None:
    """Say what ``train_model`` would do with the same config: data, time, memory and disk; nothing is written."""


@hookspec
def register_models(register: Callable[[ModelEntry], None]) -> None:
    """Add model names, such as ``--model NAME`` takes; an entry may bring an encoder of its own."""


@hookspec
def register_sources(register: Callable[[Source], None]) -> None:
    """Add kinds of input: folders, tables, lists, files of other programs."""


@hookspec
def register_exporters(register: Callable[[Exporter], None]) -> None:
    """Add formats that ``export --format`` takes."""


@hookspec
def register_rules(register: Callable[[type[Rule]], None]) -> None:
    """Add rules that ``--rule`` takes: they make decisions from stored answers."""


@hookspec
def register_detectors(register: Callable[[Detector], None]) -> None:
    """Add detectors that ``--detector`` takes: they find the boxes that the model names, in images without boxes."""


@hookspec
def register_engines(register: Callable[[ExecutionEngine], None]) -> None:
    """Add execution engines that ``--engine`` takes: they have the shards of a run worked on, on other machines too."""


@hookspec
def register_content_filters(register: Callable[[ContentFilter], None]) -> None:
    """Add filters that ``curate`` takes under ``filters``: they score the content of images; nothing is deleted."""


@hookspec
def media_suffixes() -> Iterable[str] | None:
    """Return the suffixes (``.mp4``) of files that ``expand_media`` or ``open_media`` takes, so that folders list them."""


@hookspec(firstresult=True)
def expand_media(item: MediaItem, options: ListingOptions) -> Iterable[MediaItem | Unlisted] | None:
    """List the parts of an item, such as frames of a video or pages of a TIFF; None for a single image."""


@hookspec(firstresult=True)
def open_media(item: MediaItem) -> Image.Image | None:
    """Open an item that Pillow cannot read (a frame, a RAW file) as an upright image; None for any other item."""


@hookspec
def register_commands(cli: click.Group) -> None:
    """Add commands to ``bioclip-plugin``."""


@hookspec
def candidate_taxa(place: Place, labels: LabelSet) -> NDArray[np.float32] | None:
    """Weigh every label for a place and month (N numbers, 0 = impossible); None leaves the labels as they are."""


@hookspec(firstresult=True)
def order_for_review(items: ReviewItems) -> Sequence[int] | NDArray[np.int64] | None:
    """Return the numbers of the items (0 to N-1) that a person should review next, the first one first."""


@hookspec
def answers_stored(run: Run, answers: Sequence[Answer]) -> None:
    """Receive each batch of answers after it was committed."""
