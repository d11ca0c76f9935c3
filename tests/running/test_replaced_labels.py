"""A label set's folder that is replaced between its identity and its opening: answers are not stored under the wrong labels."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bioclip_core.errors import LabelSetError
from bioclip_core.labels.building import build_label_set
from bioclip_core.taxonomy import Taxon
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.testing import FakeEncoder, FakeModel

COLOURS = ["Red", "Blue", "Green"]


class Wide(FakeEncoder):
    """The same weights by name, whose features have four numbers, as those of a service may after a change."""

    dimension = 4

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows_ND = super().encode_texts(texts)
        return np.pad(rows_ND, ((0, 0), (0, 1)))


def labels_of(folder: Path, names: list[str], *, encoder: FakeEncoder | None = None) -> Path:
    taxa = [Taxon("Fictia", "", "", "", "", name, "fictus") for name in names]
    build_label_set(taxa, encoder or FakeEncoder(), folder)
    return folder


def engine_for(folder: Path) -> Engine:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel())
    return Engine(ClassifyRequest(model="fake", labels=str(folder)), manager)


def test_a_label_set_that_is_replaced_after_it_was_identified_is_refused(tmp_path: Path) -> None:
    folder = labels_of(tmp_path / "set", COLOURS)
    engine = engine_for(folder)
    assert engine.labels.identity()["label_set"]
    shutil.rmtree(folder)
    labels_of(folder, COLOURS[:2])
    with pytest.raises(LabelSetError, match="was replaced while this command ran; start the command again"):
        _ = engine.label_set


def test_the_same_label_set_made_again_in_its_place_is_the_same(tmp_path: Path) -> None:
    folder = labels_of(tmp_path / "set", COLOURS)
    engine = engine_for(folder)
    identity = engine.labels.identity()
    shutil.rmtree(folder)
    labels_of(folder, COLOURS)
    assert len(engine.label_set) == 3
    assert engine_for(folder).labels.identity() == identity


def test_embeddings_of_another_length_than_the_models_features_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    labels_of(folder, COLOURS, encoder=Wide())
    with pytest.raises(LabelSetError, match="has embeddings of 4 numbers, but model 'fake' has features of 3"):
        _ = engine_for(folder).label_set
