"""An answer without candidates is a failure of its item with a reason; the items beside it are answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.classify import Classification, Classifier, product_of
from bioclip_core.errors import ModelError
from bioclip_core.labels.label_set import custom_labels
from bioclip_plugin import Session, create_plugin_manager, hookimpl
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.items.media import Place, Region
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.plugin_api import MediaItem
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.running.pipeline import Pipeline
from bioclip_plugin.testing import FakeEncoder, FakeModel

FISH = ("a red fish", "a blue fish")
RED, BLUE, BLACK = (255, 0, 0), (0, 0, 255), (0, 0, 0)


class Overflowing(FakeEncoder):
    """Encoder whose features of black images are not finite, as those of a model in fp16 may be."""

    value = np.nan

    def encode_images(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        rows = super().encode_images(images_BHWC)
        rows[~images_BHWC.any(axis=(1, 2, 3))] = self.value
        return rows


@pytest.fixture
def manager() -> BioclipPluginManager:
    model = FakeModel()
    model.encoder = Overflowing("fake")
    made = create_plugin_manager(installed=False)
    made.register(model)
    return made


def photo(folder: Path, name: str, colour: tuple[int, int, int]) -> Path:
    Image.new("RGB", (16, 16), colour).save(folder / name)
    return folder / name


@pytest.mark.parametrize(("value", "says"), [(np.nan, "not finite"), (np.inf, "not finite"), (0.0, "the length 0")])
def test_features_that_cannot_be_compared_fail_their_item_alone_and_are_not_stored(
    manager: BioclipPluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, says: str
) -> None:
    monkeypatch.setattr(Overflowing, "value", value)
    paths = [photo(tmp_path, f"{n}.png", colour) for n, colour in enumerate([RED, BLACK, BLUE, BLACK])]
    with Session(model="fake", labels=FISH, plugins=manager, store=tmp_path / "r.sqlite") as session:
        answers = list(session.classify_stream(paths))
        assert [answer.best.name if answer.best else None for answer in answers] == [FISH[0], None, FISH[1], None]
        for answer in (answers[1], answers[3]):
            assert answer.failure is not None
            assert answer.failure.stage == "encode"
            assert says in answer.failure.reason
        embedded = list(session.embed_stream(paths))
        assert [one.failure is None for one in embedded] == [True, False, True, False]
        monkeypatch.setattr(Overflowing, "value", 1 / np.sqrt(3))  # the next run of a mended model answers them
        assert all(answer.best for answer in session.classify_stream(paths))


def test_one_region_that_cannot_be_compared_fails_its_item(manager: BioclipPluginManager) -> None:
    image = Image.new("RGB", (16, 16), RED)
    image.paste(BLACK, (8, 0, 16, 16))
    boxes = tuple(Region(x, 0, 0.5, 1) for x in (0, 0.5))
    engine = Engine(ClassifyRequest(model="fake", labels=FISH), manager)
    item = MediaItem("half.png", image=image, regions=boxes)
    (answer,) = Pipeline(engine).answers([item])
    assert answer.failure is not None
    assert "not finite" in answer.failure.reason


def test_a_classification_without_candidates_is_a_failure_that_names_who_weighs(
    manager: BioclipPluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Warden:
        @hookimpl
        def candidate_taxa(self, place: Place, labels: object) -> None:
            return None

    def nothing(_self: Classifier, features_BD: NDArray[np.float16], **_options: object) -> list[Classification]:
        return [Classification({})] * len(features_BD)

    manager.register(Warden(), "warden")
    monkeypatch.setattr(Classifier, "classify", nothing)
    with Session(model="fake", labels=FISH, plugins=manager, store=tmp_path / "r.sqlite") as session:
        (failure,) = [answer.failure for answer in session.classify_stream([photo(tmp_path, "red.png", RED)])]
    assert failure is not None
    assert (failure.stage, failure.reason) == (
        "classify", "no label got a probability (labels are weighed by place by warden)"
    )  # fmt: skip


def test_a_product_keeps_its_values_if_they_fit_and_its_ratios_if_not() -> None:
    one, other = np.array([0.5, 0.25, 0], np.float32), np.array([0.5, 4, 3], np.float32)
    assert product_of(one, other).tolist() == [0.25, 1.0, 0.0]
    tiny = np.array([1e-30, 4e-30, 0], np.float32)
    assert product_of(tiny, tiny).tolist() == pytest.approx([1 / 16, 1, 0])


def test_words_whose_features_are_not_finite_name_the_first_word() -> None:
    class Broken(FakeEncoder):
        def encode_texts(self, texts: object) -> NDArray[np.float32]:
            return np.array([[1, 0, 0], [np.nan, 0, 0]], dtype=np.float32)

    with pytest.raises(ModelError, match="'a blue fish' cannot be used: its features are not finite numbers"):
        custom_labels(FISH, Broken())
