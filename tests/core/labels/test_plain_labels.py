"""Plain labels: words without a taxonomy, from the label set to the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from core_samples import DigestEncoder

from bioclip_core.classify import Classifier, consensus_of
from bioclip_core.labels.building import build_label_set
from bioclip_core.labels.checklist import NameIndex, health_of
from bioclip_core.labels.label_set import in_memory
from bioclip_core.labels.manifest import Block
from bioclip_core.taxonomy import Taxon


def test_plain_labels_are_answers_without_ranks_and_can_be_the_consensus(tmp_path: Path) -> None:
    encoder = DigestEncoder()
    words = ("red fox", "roe deer", "badger")
    labels = build_label_set([Taxon.plain(word) for word in words], encoder, tmp_path / "labels").labels
    assert len(labels) == 3
    assert not health_of(labels).counts
    (answer,) = Classifier(labels).classify(encoder.encode_texts(["a photo of roe deer."]).astype("float16"))
    first = answer.by_rank["species"][0]
    assert (first.name, first.rank, any(first.taxon.lineage)) == ("roe deer", "label", False)
    assert consensus_of(answer.by_rank, 0.0) == first
    assert (found := NameIndex(labels).rows("roe deer")) is None or len(found) == 1


def test_an_epithet_without_its_genus_is_no_plain_label() -> None:
    assert Taxon.plain("red fox").is_plain
    assert not Taxon(species="palmatum").is_plain
    assert not Taxon("Animalia", species="red fox", common_name="red fox").is_plain


def test_a_plain_label_is_found_by_its_words_and_doubtful_epithets_are_not() -> None:
    identity = {"weights_sha256": "w", "source": "invented", "revision": ""}
    taxa = [Taxon.plain("Red fox"), Taxon(species="palmatum"), Taxon(genus="Acer", species="rubrum", common_name="roe")]
    labels = in_memory(taxa, np.eye(3, dtype=np.float16), identity, [Block(0, 3, "text", 1.0)])
    index = NameIndex(labels)
    rows = index.rows(" red  FOX ")
    assert rows is not None
    assert [labels.taxon(int(row)).words for row in rows] == ["Red fox"]
    assert index.has_words
    assert (index.rows("palmatum"), index.rows("roe")) == (None, None)
