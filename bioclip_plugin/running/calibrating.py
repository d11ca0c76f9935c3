"""The int8 model of a request, made from a sample of the images that are about to be encoded."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.acceleration.quantising import LEAST_IMAGES, MOST_IMAGES, quantise
from bioclip_core.acceleration.runtime_choice import why_not_int8, why_not_made
from bioclip_core.classify import Classifier
from bioclip_core.device import INT8
from bioclip_core.encoder import USUAL_BATCH, Encoder
from bioclip_core.errors import BioclipError, raise_if_of_host
from bioclip_core.identity import CACHE_VARIABLE, settings_id, user_cache
from bioclip_core.nouns import number_of
from bioclip_core.preprocessing import Preprocessing
from bioclip_core.runtimes.openvino_tower import OpenVinoUnusable
from bioclip_core.runtimes.quantised import check_cache, find_quantised, quantised_folder
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.running.fetched import Fetching
from bioclip_plugin.running.pipeline import Pipeline

log = logging.getLogger("bioclip_plugin.runtimes")

_LOOKED_AT = 2_048
"""Items at the head of a listing that the sample is spread over."""
_SPARE = 1.25
"""Items per image that is wanted: some cannot be read."""

Entry = MediaItem | Unlisted


def with_int8_model(
    engine: Engine, items: Iterable[Entry], *, labels: bool, fetching: Fetching | None = None
) -> Iterator[Entry]:
    """Return the items, after an int8 model was made from some of them, if the request asks for one that the cache lacks.

    What cannot be made is a line, and the engine goes on without int8.

    Args:
        engine: its identities were not asked for yet.
        items: the items of the run.
        labels: compare the answers of the engine's labels too.
        fetching: the way to images on the web.
    """
    entries = iter(items)
    if engine.request.precision != INT8 or engine.is_recorded_int8 or why_not_int8(engine.model, engine.compute.device):
        return entries  # the engine says why
    kept, reason = find_quantised(engine.model)
    if kept is not None:
        return entries
    if reason:
        log.warning("The int8 model of %s in the cache is not used: %s; a new one is made", engine.model.name, reason)
    head = list(islice(entries, _LOOKED_AT))
    try:
        _calibrate(engine, head, labels=labels, fetching=fetching)
    except (BioclipError, OSError) as error:  # of the system: no room in the cache or for temporary files
        raise_if_of_host(error)
        engine.leave_int8(str(error) if isinstance(error, BioclipError) else _no_room(error))
    return chain(head, entries)


def _no_room(error: OSError) -> str:
    return (
        f"its model cannot be made or kept ({error.strerror or error}): make room in {tempfile.gettempdir()} and in "
        f"{user_cache()}, or set TMPDIR or {CACHE_VARIABLE} to a folder elsewhere"
    )


def _calibrate(engine: Engine, head: Sequence[Entry], *, labels: bool, fetching: Fetching | None) -> None:
    if reason := why_not_made():
        raise OpenVinoUnusable(reason)
    check_cache()
    began = time.monotonic()
    log.info("Making the int8 model of %s from a sample of these images; it is kept", engine.model.name)
    images_NHWC = _sample(engine, head, fetching)
    if len(images_NHWC) < LEAST_IMAGES:
        raise OpenVinoUnusable(
            f"{number_of(len(images_NHWC), 'image')} that can be read are too few to calibrate it on, {LEAST_IMAGES} are needed"
        )
    opened = _Labels(engine) if labels else None
    made = quantise(
        engine.model,
        images_NHWC,
        engine.compute.precision,
        answers=opened,
        label_set=settings_id(engine.labels.identity()) if labels else "",
    )
    log.info("Made in %.0f s, in %s", time.monotonic() - began, quantised_folder(engine.model))
    log.debug("%s", made)


class _Labels:
    """First candidates of features by rank, with the labels of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._classifier: Classifier | None = None

    def __call__(self, encoder: Encoder, features_BD: NDArray[np.float16]) -> Mapping[str, Sequence[str]]:
        choice, request = self._engine.labels, self._engine.request
        if self._classifier is None:
            labels = choice.open(encoder if choice.folder is None else None, self._engine.model)
            labels.level(request.rank)
            self._classifier = Classifier(labels, "cpu", temperature=choice.temperature or 1.0)
        found = self._classifier.classify(features_BD, rank=request.rank, top=1)
        ranks = dict.fromkeys(rank for one in found for rank in one.by_rank)
        first = {rank: [next(iter(one.by_rank.get(rank, ())), None) for one in found] for rank in ranks}
        return {rank: [one.name if one else "" for one in candidates] for rank, candidates in first.items()}


class _Collector:
    """An encoder that keeps the images that it is given; its features mean nothing."""

    logit_scale, logit_bias = 1.0, 0.0

    def __init__(self, engine: Engine) -> None:
        self.identity = engine.model.identity()
        self.preprocessing: Preprocessing = engine.model.preprocessing
        self.dimension = 1
        self.images: list[NDArray[np.uint8]] = []

    def encode_images(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        self.images.extend(images_BHWC)
        return np.ones((len(images_BHWC), 1), dtype=np.float16)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise NotImplementedError(texts)


def _sample(engine: Engine, head: Sequence[Entry], fetching: Fetching | None) -> NDArray[np.uint8]:
    """Return preprocessed images (or crops of boxes) of items spread over the head of a listing."""
    items = [item for item in head if isinstance(item, MediaItem)]
    wanted = int(MOST_IMAGES * _SPARE)
    spread = [items[place * len(items) // wanted] for place in range(wanted)] if len(items) > wanted else items
    request = replace(
        engine.request, precision="fp32", runtime="torch", store=None, rules=(), batch_size=USUAL_BATCH
    )  # the best size is none that a collector is measured with
    reading = Engine(request, engine.plugins)
    collector = _Collector(engine)
    reading.use_encoder(collector)
    for _ in Pipeline(reading, classify=False, fetching=fetching).features(spread):
        if len(collector.images) >= MOST_IMAGES:
            break
    size = engine.model.preprocessing.size
    images: Any = collector.images[:MOST_IMAGES]
    return np.stack(images) if images else np.empty((0, size, size, 3), np.uint8)
