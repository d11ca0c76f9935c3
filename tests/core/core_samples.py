"""Invented taxa, and an encoder whose text features are drawn from a digest of the text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.labels.label_set import LabelSet, in_memory
from bioclip_core.labels.manifest import Block
from bioclip_core.preprocessing import Preprocessing
from bioclip_core.taxonomy import Taxon

ENCODER = {"weights_sha256": "c0ffee" * 10 + "cafe", "source": "local-dir:invented", "revision": ""}


class Interrupted(RuntimeError):
    """Error that stops an encoder part way."""


class DigestEncoder:
    """Encoder whose feature of a text is D normal numbers seeded by its digest; it stops after ``fail_after`` texts."""

    identity = ENCODER
    preprocessing = Preprocessing()
    logit_scale = 20.0
    logit_bias = 0.0

    def __init__(self, dimension: int = 8, *, fail_after: int | None = None) -> None:
        self.dimension = dimension
        self.texts: list[str] = []
        self.fail_after = fail_after

    def encode_images(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        raise NotImplementedError

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.fail_after is not None and len(self.texts) + len(texts) > self.fail_after:
            raise Interrupted
        self.texts += texts
        return np.stack([digest_feature(text, self.dimension) for text in texts])


def digest_feature(text: str, dimension: int) -> NDArray[np.float32]:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    vector = np.random.default_rng(seed).standard_normal(dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def random_taxa(count: int, seed: int, *, holes: float = 0.25, names_a_rank: int = 3) -> list[Taxon]:
    """Return distinct lineages from few names, so that taxa share ranks, with holes at any rank."""
    random = np.random.default_rng(seed)
    lineages: dict[tuple[str, ...], None] = {}
    while len(lineages) < count:
        depth = int(random.integers(1, 8))
        names = [f"N{random.integers(names_a_rank)}" if random.random() > holes else "" for _ in range(depth)]
        if names[-1]:
            lineages[(*names, *[""] * (7 - depth))] = None
    return [Taxon.of(lineage) for lineage in lineages]


def random_rows(count: int, dimension: int, seed: int) -> NDArray[np.float16]:
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    unit: NDArray[np.float16] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    return unit


def label_set(
    taxa: Sequence[Taxon], rows_ND: NDArray[Any] | None = None, *, scale: float = 20.0, seed: int = 1, **settings: Any
) -> LabelSet:
    """Return a label set in memory with one text block."""
    rows_ND = random_rows(len(taxa), 8, seed) if rows_ND is None else rows_ND
    return in_memory(taxa, rows_ND, ENCODER, [Block(0, len(taxa), "text", scale)], **settings)
