"""Features to names: probabilities over a label set, and the best candidates at every rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classifying.columns import Columns
from bioclip_core.classifying.looking import Looking
from bioclip_core.classifying.matrix import LabelMatrix, chunk_size
from bioclip_core.classifying.queries import queries_of
from bioclip_core.classifying.whole import Found, Tree, Whole, logits_of
from bioclip_core.errors import LabelSetError
from bioclip_core.labels.label_set import LABEL, LabelSet
from bioclip_core.taxonomy import RANKS, Rank, Taxon

if TYPE_CHECKING:
    import torch

CLASSIFY_VERSION = 1
"""Part of every answer's identity: raise it when the same features and labels give other probabilities."""

PRIOR_IGNORED = "prior_ignored"

_SUMS_BYTES = 96 << 20
"""Probabilities of all taxa (fp64) in memory at once, for evaluation."""
_SMALLEST = 1e-45
"""Probabilities below the numbers of fp32 are none."""
_MOST_SPECIFIC_FIRST = ("label", "group", *reversed([rank.value for rank in RANKS]))
_CACHED_TAXA = 65_536
"""The images of a deployment have the same few thousand candidates again and again."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One taxon and the summed probability of its labels."""

    taxon: Taxon
    rank: str
    """The taxon's own rank; ``label`` or ``group`` for custom labels."""
    probability: float

    @property
    def name(self) -> str:
        """The scientific name, or the words of a custom label."""
        return self.taxon.name

    def as_dict(self) -> dict[str, Any]:
        """Return ``scientific_name``, ``rank``, ``probability``, the seven ranks and ``common_name``."""
        return {
            "scientific_name": self.name,
            "rank": self.rank,
            "probability": self.probability,
            **self.taxon.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class Classification:
    """The candidates for one row of features."""

    by_rank: Mapping[str, tuple[Candidate, ...]]
    """The best ``top`` for the requested rank; for every other rank the best one with a name at that rank."""
    flags: tuple[str, ...] = ()


def consensus_of(by_rank: Mapping[str, Sequence[Candidate]], threshold: float) -> Candidate | None:
    """Return the most specific taxon whose summed probability reaches the threshold, or None.

    Ranks are tried from the most specific; a candidate that is listed at a rank for lack of a name there does not count.
    """
    best = (
        next((found for found in by_rank.get(rank, ()) if found.rank == rank or is_plain_label(found, rank)), None)
        for rank in _MOST_SPECIFIC_FIRST
    )
    return next((candidate for candidate in best if candidate is not None and candidate.probability >= threshold), None)


def is_plain_label(candidate: Candidate, rank: str) -> bool:
    """True for words of a label set of plain labels, which stand at the level of species without being one."""
    return rank == Rank.SPECIES and candidate.rank == LABEL and bool(candidate.taxon.common_name)


def product_of(one_N: NDArray[np.float32], other_N: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the product of two weightings of N labels, scaled if it leaves the range of fp32: only ratios matter."""
    with np.errstate(over="ignore", under="ignore"):
        product: NDArray[np.float32] = one_N * other_N
    if np.isfinite(product).all() and bool(((product > 0) == ((one_N > 0) & (other_N > 0))).all()):
        return product
    exact_N = one_N.astype(np.float64) * other_N
    return (exact_N / (exact_N.max() or 1.0)).astype(np.float32)


class Classifier:
    """A label set prepared on a device. Several threads may call it at once."""

    def __init__(self, labels: LabelSet, device: str = "cpu", *, temperature: float = 1.0) -> None:
        """Prepare a label set.

        Args:
            labels: the label set.
            device: as torch spells it. For ``mps`` the CPU computes: Apple's GPUs lack fp64 and some of the operations.
            temperature: divisor of every logit, as :mod:`bioclip_core.calibration` keeps it.
        """
        self.labels = labels
        self.temperature = temperature
        device = "cpu" if device.startswith("mps") else device
        chunk = chunk_size(labels.dimension, device)
        self._columns = Columns.of(labels, chunk)
        self._matrix = LabelMatrix(labels, self._columns, chunk, device)
        self._tree = Tree(self._columns, chunk, self._matrix)
        self._looking = Looking(self._matrix, self._tree, self._largest_scale())
        bias_K = self._matrix.bias_K / temperature
        self._shift = float(bias_K.max(initial=-np.inf))
        """The largest bias, which answers do not depend on; a large one would cost precision."""
        self._bias_K = bias_K - self._shift
        self._has_bias = bool(self._bias_K.any())
        self._taxon_at = lru_cache(maxsize=_CACHED_TAXA)(labels.taxon_at)

    def classify(
        self,
        features_BD: NDArray[np.float16],
        *,
        rank: str = "species",
        top: int = 5,
        weights_N: NDArray[np.float32] | None = None,
        members_G: Sequence[int] | None = None,
    ) -> list[Classification]:
        """Classify B features; many at once cost less.

        Args:
            features_BD: L2-normalised rows, as stored.
            rank: the level of which the ``top`` best candidates are kept; of every other level the best one is kept.
            top: number of candidates.
            weights_N: one factor per label (0 = impossible). They are ignored, with a flag, if they make all labels impossible.
            members_G: for each of G answers the number of consecutive rows that it is for; they are answered together, by
                the mean of their logits. None answers each row alone.

        Raises:
            UsageError: if the label set lacks the level.
            ValueError: if ``members_G`` does not add up to B.
        """
        level = self.labels.level(rank)
        is_usable = weights_N is not None and bool((weights_N[self.labels.kept_N] > 0).any())
        bias_K = self._bias(weights_N if is_usable else None)
        flags = () if is_usable or weights_N is None else (PRIOR_IGNORED,)
        answers: list[Classification] = []
        for start, stop, sizes in _passes(len(features_BD), self._looking.rows_at_once, members_G):
            queries = self._queries(features_BD[start:stop], sizes)
            found = self._looking.best(queries, bias_K, level, top)
            answers += [Classification(by_rank, flags) for by_rank in self._named(found, len(queries[0]))]
        return answers

    def sums(self, features_BD: NDArray[np.float16]) -> Iterator[tuple[int, Callable[[str], torch.Tensor]]]:
        """Yield the probabilities of all taxa, for evaluation, a few rows at a time so that memory stays bounded.

        Yields:
            The number of the first row, and a function from a level to the rows' probabilities there, on the device: one
            column per span of ``labels.spans(level)``. Call it before the next rows are requested.
        """
        import torch

        step = max(1, _SUMS_BYTES // (8 * len(self.labels)))
        for start in range(0, len(features_BD), step):
            with torch.inference_mode():
                whole = self._looking.whole(self._queries(features_BD[start : start + step]), self._bias(None))
            yield start, partial(self._sums_at, whole)

    def logits(self, features_BD: NDArray[np.float16], members_G: Sequence[int] | None = None) -> torch.Tensor:
        """Return B×N logits in fp32 on the device, minus infinity for unused labels. The caller limits B.

        Args:
            features_BD: L2-normalised rows.
            members_G: as for :meth:`classify`; the result is G×N then.
        """
        import torch

        queries = self._queries(features_BD, members_G)
        with torch.inference_mode():
            logits_KB = logits_of(self._matrix, queries, self._bias(None))
            logits_BK = logits_KB[: self._columns.count, : len(queries[0])].T + self._shift
            return self._spread(logits_BK, self._columns.rows_K, len(self.labels), -torch.inf)

    def _largest_scale(self) -> float:
        """Return about the largest difference of two logits."""
        bias_K = self._matrix.bias_K
        spread = float(np.ptp(bias_K)) if len(bias_K) else 0.0
        return (max(kind.scale for kind in self.labels.kinds) + spread) / self.temperature

    def _bias(self, weights_N: NDArray[np.float32] | None) -> torch.Tensor | None:
        """Return the bias of each column with the logarithm of its weight; None if all are zero."""
        if weights_N is None:
            return self._matrix.tensor(self._bias_K.astype(np.float32)) if self._has_bias else None
        rows_K = self._columns.rows_K
        weights_K = np.asarray(weights_N if rows_K is None else weights_N[rows_K], dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._matrix.tensor((self._bias_K + np.log(weights_K)).astype(np.float32))

    def _queries(
        self, features_BD: NDArray[np.float16], members_G: Sequence[int] | None = None
    ) -> list[NDArray[np.float64]]:
        if features_BD.shape[1] != self.labels.dimension:
            raise LabelSetError(
                f"features of {features_BD.shape[1]} numbers, but the label set has embeddings of {self.labels.dimension}; give "
                "--labels a label set that was made for this model"
            )
        with np.errstate(all="ignore"):
            return queries_of(features_BD, self.labels.kinds, self.temperature, members_G)

    def _sums_at(self, whole: Whole, name: str) -> torch.Tensor:
        import torch

        level = next(level for level in self._columns.levels if level.name == name)
        count = len(self.labels.spans(name).starts_S)
        places_T = None if len(level.spans_T) == count else level.spans_T
        with torch.inference_mode():
            return self._spread(whole.sums_at(name), places_T, count, 0.0)

    def _spread(
        self, values_BT: torch.Tensor, places_T: NDArray[np.int64] | None, count: int, other: float
    ) -> torch.Tensor:
        """Return values at their places among ``count`` columns."""
        if places_T is None:
            return values_BT.contiguous()
        spread_BS = values_BT.new_full((len(values_BT), count), other)
        spread_BS[:, self._matrix.tensor(places_T)] = values_BT
        return spread_BS

    def _named(self, found: Found, rows: int) -> list[dict[str, tuple[Candidate, ...]]]:
        """Return each row's best candidates by level, most probable first."""
        named: list[dict[str, tuple[Candidate, ...]]] = [{} for _ in range(rows)]
        for level in self._columns.levels:
            values_Bk, places_Bk = found[level.name]
            first_rows_Bk = level.rows_T[places_Bk]
            for answer, values, first_rows in zip(named, values_Bk.tolist(), first_rows_Bk.tolist(), strict=True):
                candidates = tuple(
                    Candidate(*self._taxon_at(first_row, level.name), min(1.0, value))
                    for first_row, value in zip(first_rows, values, strict=True)
                    if value > _SMALLEST
                )
                if candidates:
                    answer[level.name] = candidates
        return named


def _passes(
    rows: int, answers_at_once: int, members_G: Sequence[int] | None
) -> Iterator[tuple[int, int, Sequence[int] | None]]:
    """Yield runs of rows whose answers fit into one pass: first row, end, and the number of rows of each answer."""
    if members_G is None:
        for start in range(0, rows, answers_at_once):
            yield start, min(rows, start + answers_at_once), None
        return
    if sum(members_G) != rows or min(members_G, default=1) < 1:
        raise ValueError(f"members_G must be whole numbers from 1 that add up to {rows} rows, not to {sum(members_G)}")
    start = 0
    for first in range(0, len(members_G), answers_at_once):
        sizes = members_G[first : first + answers_at_once]
        yield start, start + sum(sizes), sizes
        start += sum(sizes)
