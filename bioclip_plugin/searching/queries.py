"""Queries: an image, an item of the store, a name or words, each made into a vector of the run's model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import DataError, ImageError, NoTextTower, UsageError
from bioclip_core.findings import shortened
from bioclip_core.listed_names import did_you_mean
from bioclip_core.next_commands import command
from bioclip_core.nouns import number_of
from bioclip_plugin.searching.results import Query
from bioclip_plugin.searching.searcher import Searcher

if TYPE_CHECKING:
    from bioclip_core.labels.label_set import LabelSet
    from bioclip_plugin.running.engine import Engine

_KIND_WORDS = {"text": "text", "prototype": "prototype (mean of labelled images)", "probe": "probe"}


def check_model(engine: Engine, searcher: Searcher, runs: Sequence[Any] = ()) -> None:
    """Refuse a model whose features are not those of the run.

    Args:
        engine: the model of the query.
        searcher: the run.
        runs: runs of the store, for the message.

    Raises:
        DataError: with the models that the store has features of.
    """
    settings = searcher.feature_set.settings
    if engine.model.weights_sha256 == settings.get("weights_sha256"):
        return
    have: dict[str, list[int]] = {}
    for run in runs or [searcher.run]:
        name = str(run.provenance.get("model", {}).get("name") or run.settings.get("model") or "unknown")
        have.setdefault(name, []).append(run.id)
    known = "; ".join(f"{name} in run {', '.join(map(str, numbers[:5]))}" for name, numbers in have.items())
    raise DataError(
        f"the features of run {searcher.run.id} were made with other weights than those of {engine.model.name}, so that they "
        f"cannot be compared; the store has features of: {known}"
    )


def item_query(searcher: Searcher, media: int, region: int, name: str = "") -> Query:
    """Return a query for items like an item of the run ("more like this"). No model is needed.

    Raises:
        DataError: if the run does not have the item, or its feature is not stored.
    """
    shown = f" ({shortened(name)})" if name else ""
    described = f"the stored feature of item {searcher.run.id}-{media}-{region}{shown}"
    return Query("item", searcher.feature_of(media, region), described, (media, region))


def image_query(engine: Engine, image: Any) -> Query:
    """Return a query by an image: a path, bytes, a PIL image, an array, or a media item, whose only region it may be.

    Raises:
        ImageError: if it cannot be read.
        UsageError: for an image of several regions, or something that is not an image.
    """
    from bioclip_plugin.items.media import Unlisted
    from bioclip_plugin.running.given import item_of_image
    from bioclip_plugin.running.pipeline import Pipeline

    item = item_of_image(image)
    if isinstance(item, Unlisted):
        raise ImageError(f"{item.uri}: {item.reason}")
    ((answer, rows),) = Pipeline(engine, classify=False).features(iter([item]))
    if answer.failure is not None:
        raise ImageError(f"{answer.item.uri}: {answer.failure.reason}")
    if len(rows) != 1:
        regions = number_of(len(rows), "region")
        raise UsageError(
            f"{answer.item.uri} has {regions} to search for, and a search takes one: give a MediaItem with one region, or a model "
            "without a detector"
        )
    return Query("image", rows[0], f"the image {shortened(answer.item.uri)}")


def words_query(engine: Engine, words: str) -> Query:
    """Return a query by words, as the model's text tower understands them.

    Raises:
        NoTextTower: if the model has none, with the reason.
        UsageError: without words.
    """
    text = " ".join(words.split())
    if not text:
        raise UsageError("the words of the search are empty: give some, such as 'a bird on the ground at night'")
    try:
        (vector_D,) = engine.encoder.encode_texts([text])
    except NoTextTower as error:
        raise NoTextTower(f"{engine.model.name} cannot search by words: {error}") from None
    return Query("words", vector_D, f"the words {text!r}, encoded by the text tower of {engine.model.name}")


def name_query(engine: Engine, name: str) -> Query:
    """Return a query by a name of the label set, of any rank: the mean of the rows under it.

    Raises:
        DataError: for a name that the label set does not have.
        LabelSetError: if the label set cannot be opened.
    """
    labels = engine.label_set
    rows = rows_of_name(labels, name)
    if rows is None:
        raise DataError(f"{name!r} is not a name in the label set{near_name(labels, name)}; {look_up(labels)}")
    vector_D = labels.embeddings_ND[rows].astype(np.float32).mean(axis=0)
    if not np.isfinite(vector_D).all() or not vector_D.any():
        raise DataError(f"the rows of {name!r} in the label set have no direction: search for one of the taxa below it")
    kinds = sorted(
        {_KIND_WORDS[block.kind] for block in labels.blocks for row in rows if block.start <= row < block.stop}
    )
    of_rows = f"mean of {number_of(len(rows), 'row')}" if len(rows) > 1 else "1 row"
    return Query("name", vector_D, f"the name {name}: {of_rows} of the label set, {' and '.join(kinds)}")


def rows_of_name(labels: LabelSet, name: str) -> NDArray[np.int64] | None:
    """Return the usable rows under a name of any rank; None if the label set does not have it."""
    from bioclip_core.labels.checklist import NameIndex

    rows = NameIndex(labels).rows(name)
    if rows is None:
        return None
    usable = rows[labels.usable_N[rows]]
    return usable if len(usable) else None


def near_name(labels: LabelSet, name: str) -> str:
    """Return the end of a message with the name that is nearly the given one; empty if there is none."""
    column = "common_name" if labels.is_custom else "genus"
    known = [text for text in labels.dictionaries[column].to_pylist() if text]
    return did_you_mean(name if labels.is_custom else name.strip().partition(" ")[0], known)


def look_up(labels: LabelSet) -> str:
    """Return the end of a message with the command that looks names up."""
    return f"look names up with: {command('labels search', 'NAME', labels=labels.folder or 'LABELS')}"
