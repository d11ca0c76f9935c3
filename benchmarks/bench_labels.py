"""Label sets beside the plain way: the bare product with all labels, building by the text tower, and answering again from features."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import fixtures, ours, taxa
from benchmarks.pairs import Spread, beside_peer, timed
from benchmarks.peer import Peer
from bioclip_plugin import Session, create_plugin_manager, hookimpl
from bioclip_plugin.testing import FakeEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bioclip_plugin.plugin_api import ModelEntry

ROWS = 64  # per group
COUNTS = fixtures.LABEL_COUNTS[1:]
NEAR = 2.7
"""Length of the noise on a label of length 1 in peaked rows: a cosine of 0.35 with it, as trained models have, and 0.2 with the next."""
MARKS = {("peaked", 50_000): 1.2, ("peaked", 400_000): 2.0, ("flat", 50_000): 1.0, ("flat", 400_000): 1.0}
BUILT = 32 if fixtures.QUICK else 96
STORED = 64 if fixtures.QUICK else 1_000
RELABELLED = 1_000 if fixtures.QUICK else 100_000
ASKED_PER_S = 1_000.0


@pytest.mark.benchmark(group="classify")
@pytest.mark.parametrize("logits", ["peaked", "flat"])
@pytest.mark.parametrize("count", COUNTS)
def test_every_rank_beside_the_bare_product(
    benchmark: BenchmarkFixture, peer: Peer, tmp_path: Path, count: int, logits: str
) -> None:
    files = fixtures.label_files(count)
    classifier = ours.classifier(files)
    rows_BD = _rows(classifier.labels.embeddings_ND, logits)
    stored = tmp_path / "features.npy"
    np.save(stored, rows_BD.astype(np.float32))
    peer.use_labels(files)
    benchmark.extra_info.update(
        title=f"{count:,} labels, {ROWS} {logits} rows, every rank",
        key=f"classify-{count}-{logits}",
        peer_name="pybioclip's bare product and softmax",
    )
    beside_peer(
        benchmark,
        prepare=lambda: rows_BD,
        ours=classifier.classify,
        peer=lambda _rows: float(peer.call("product", features=str(stored))["seconds"]),
        ours_items=ROWS,
        pairs=2 * fixtures.WORKLOAD.pairs - 1,
        unit="rows/s",
        mark=MARKS.get((logits, count)),
    )


def _rows(labels_ND: NDArray[Any], logits: str) -> NDArray[np.float16]:
    """Return unit rows in random directions (flat), or near labels (peaked)."""
    random_BD = taxa.random_units(ROWS, fixtures.DIMENSION, seed=5)
    if logits == "flat":
        return random_BD.astype(np.float16)
    return _near(labels_ND[:: len(labels_ND) // ROWS][:ROWS], random_BD)


def _near(labels_BD: NDArray[Any], random_BD: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return unit rows near labels."""
    near_BD = np.asarray(labels_BD, np.float32) + NEAR * random_BD
    rows: NDArray[np.float16] = (near_BD / np.linalg.norm(near_BD, axis=1, keepdims=True)).astype(np.float16)
    return rows


@pytest.mark.benchmark(group="labels build")
def test_labels_build(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    import open_clip
    import torch

    from bioclip_core.captions import captions_for_labels
    from bioclip_core.labels.building import build_label_set

    species = taxa.invented_taxa(BUILT, seed=4)
    captions = [caption for taxon in species for caption in captions_for_labels(taxon)]
    encoder, folders = ours.text_encoder(), (tmp_path / f"set-{number}" for number in itertools.count())
    model, _, _ = open_clip.create_model_and_transforms(ours.model_name())
    model.eval()
    tokenizer = open_clip.get_tokenizer(fixtures.ARCHITECTURE)

    def plain(_: object) -> None:
        with torch.inference_mode():
            for start in range(0, len(captions), 64):
                model.encode_text(tokenizer(captions[start : start + 64]), normalize=True)

    benchmark.extra_info.update(
        title=f"{BUILT} species, taxonomic captions, ViT-B/16's text tower",
        key="labels-build",
        peer_name="open_clip's encode_text, all 77 tokens, fp32",
    )
    beside_peer(
        benchmark,
        prepare=lambda: None,
        ours=lambda _: build_label_set(species, encoder, next(folders)),
        peer=timed(plain),
        ours_items=BUILT,
        pairs=min(4, fixtures.WORKLOAD.pairs),
        unit="labels/s",
        mark=3.0,
        note="ours also sorts the taxa and writes and checks the label set",
    )


class Wide(FakeEncoder):
    """Features of the width of the label files: in a random direction per image, or near a label if there are labels."""

    dimension = fixtures.DIMENSION
    labels_ND: NDArray[np.float16] | None = None

    def encode_images(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        first = self.images_encoded
        self.images_encoded += len(images_BHWC)
        random_BD = taxa.random_units(len(images_BHWC), self.dimension, seed=self.images_encoded)
        if self.labels_ND is None:
            return random_BD.astype(np.float16)
        return _near(self.labels_ND[np.arange(first, self.images_encoded) * 37 % len(self.labels_ND)], random_BD)


class WideModel:
    """Plugin with the encoder."""

    def __init__(self) -> None:
        self.encoder = Wide("wide", logit_scale=fixtures.LOGIT_SCALE)

    @hookimpl
    def register_models(self, register: Callable[[ModelEntry], None]) -> None:
        from bioclip_core.models import ModelEntry

        pinned = {"size": 8, "resize_mode": "squash"}
        register(
            ModelEntry(
                "wide", "wide", "benchmark", preprocessing=pinned, open_encoder=lambda _compute: self.encoder,
                dimension=Wide.dimension,
            )
        )  # fmt: skip


@pytest.mark.benchmark(group="classify")
@pytest.mark.parametrize("logits", ["peaked", "flat"])
def test_answers_again_from_stored_features(benchmark: BenchmarkFixture, tmp_path: Path, logits: str) -> None:
    from bioclip_core.labels.label_set import LabelSet

    model = WideModel()
    few, many = (_imported(model.encoder, count, tmp_path) for count in (fixtures.LABEL_COUNTS[0], RELABELLED))
    if logits == "peaked":
        model.encoder.labels_ND = LabelSet.open(many).embeddings_ND
    photos = [str(path) for path in _copies(tmp_path / "photos", STORED)]
    rates: list[float] = []

    def answered(labels: Path, store: Path) -> float:
        manager = create_plugin_manager(installed=False)
        manager.register(model)
        with Session(model="wide", labels=str(labels), store=str(store), precision="fp32", plugins=manager) as session:
            began = time.perf_counter()
            answers = list(session.classify_stream(photos))
            assert all(answer.failure is None for answer in answers)
            return STORED / (time.perf_counter() - began)

    def again() -> None:
        store = tmp_path / f"store-{len(rates)}.db"
        answered(few, store)
        before = model.encoder.images_encoded
        rates.append(answered(many, store))
        assert model.encoder.images_encoded == before, "features are stored, and nothing is encoded again"

    benchmark.pedantic(again, rounds=2 if fixtures.QUICK else 3)  # type: ignore[no-untyped-call]
    benchmark.extra_info.update(
        title=f"{STORED:,} images again from stored features, {RELABELLED:,} labels, {logits}, answers stored",
        key=f"reclassify-{logits}",
        unit="images/s",
        ours=Spread.of(rates).as_dict(),
        note={
            "peaked": f"features near labels, as a trained model's; the target is {ASKED_PER_S:,.0f} images/s",
            "flat": "features near no label, so that the exact path is due",
        }[logits],
    )


def _imported(encoder: Wide, count: int, folder: Path) -> Path:
    from bioclip_core.labels.building import import_label_set

    files, into = fixtures.label_files(count), folder / f"labels-{count}"
    import_label_set(files / taxa.NPY, files / taxa.JSON, encoder, into)
    return into


def _copies(folder: Path, count: int) -> Sequence[Path]:
    folder.mkdir()
    content = fixtures.small_photos(1)[0].read_bytes()
    paths = [folder / f"{number:05d}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(content + number.to_bytes(8, "little"))
    return paths
