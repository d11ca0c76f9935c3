"""Every hook: a signature, its types, one sentence. Implement one with ``@bioclip_plugin.hookimpl``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from bioclip_plugin.plugin_api import (
        Answer,
        ClassifyRequest,
        Exporter,
        LabelSet,
        ListingOptions,
        MediaItem,
        ModelEntry,
        Place,
        Rule,
        Run,
        Source,
        TrainConfig,
        TrainResult,
        Unlisted,
    )

PROJECT = "bioclip"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec(firstresult=True)
def classify_images(items: Sequence[MediaItem | str], request: ClassifyRequest) -> list[Answer] | None:
    """Answer a batch: one answer an item, in order; a bad image is an answer with a failure."""


@hookspec(firstresult=True)
def embed_images(items: Sequence[MediaItem | str], request: ClassifyRequest) -> list[NDArray[np.float16] | None] | None:
    """Give each item's features as rows of regions (R×D, L2-normalised), None for an image that cannot be read."""


@hookspec(firstresult=True)
def train_model(config: TrainConfig) -> TrainResult | None:
    """Retrain a model on a collection, or go on where an interrupted call was; the result is a checkpoint's folder."""


@hookspec
def register_models(register: Callable[[ModelEntry], None]) -> None:
    """Add names that ``model=`` takes."""


@hookspec
def register_sources(register: Callable[[Source], None]) -> None:
    """Add kinds of input: folders, tables, lists, files of other programs."""


@hookspec
def register_exporters(register: Callable[[Exporter], None]) -> None:
    """Add formats that ``export --format`` takes."""


@hookspec
def register_rules(register: Callable[[type[Rule]], None]) -> None:
    """Add rules that ``--rule`` takes: what is made of stored answers."""


@hookspec
def media_suffixes() -> Iterable[str] | None:
    """Name the suffixes (``.mp4``) of files that ``expand_media`` or ``open_media`` take, so that folders list them."""


@hookspec(firstresult=True)
def expand_media(item: MediaItem, options: ListingOptions) -> Iterable[MediaItem | Unlisted] | None:
    """List what an item is made of: frames of a video, pages of a TIFF; None where it is one image."""


@hookspec(firstresult=True)
def open_media(item: MediaItem) -> Image.Image | None:
    """Open an item that Pillow cannot read (a frame, a RAW file) as an upright image; None where it is not yours."""


@hookspec
def register_commands(cli: click.Group) -> None:
    """Add commands to ``bioclip-plugin``."""


@hookspec
def candidate_taxa(place: Place, labels: LabelSet) -> NDArray[np.float32] | None:
    """Weigh every label for a place and month (N numbers, 0 = impossible), None to leave them as they are."""


@hookspec
def answers_stored(run: Run, answers: Sequence[Answer]) -> None:
    """Hear of each batch after it was committed."""
