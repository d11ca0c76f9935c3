"""Features to names: probabilities over a label set, and the best candidates at every rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.errors import LabelSetError
from bioclip_core.labels.label_set import LABEL, Kind, LabelSet
from bioclip_core.taxonomy import RANKS, Rank, Taxon

if TYPE_CHECKING:
    import torch

CLASSIFY_VERSION = 1
"""Part of every answer's identity: raise it when the same features and labels give other probabilities."""

PRIOR_IGNORED = "prior_ignored"

_RESIDENT_BYTES = 256 << 20
"""A label set up to this size in fp32 stays converted; a larger one is converted in chunks."""
_CHUNK_BYTES = 32 << 20
"""Labels converted at once."""
_PASS_BYTES = 96 << 20
"""B×N probabilities (fp32) of one pass over the labels."""
_RUNNING_BYTES = 64 << 20
"""Running sums (fp64) in memory at once."""
_BLOCK = 64
"""Columns for which one maximum is computed first."""
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
            device: as torch spells it.
            temperature: divisor of every logit, as :mod:`bioclip_core.calibration` keeps it.
        """
        self.labels = labels
        self.temperature = temperature
        self._device = device
        self._resident: torch.Tensor | None = None
        if device != "cpu" or len(labels) * labels.dimension * 4 <= _RESIDENT_BYTES:
            whole_ND = self._tensor(labels.embeddings_ND)
            self._resident = whole_ND.float() if device == "cpu" else whole_ND
        spans_of = {level: labels.spans(level) for level in labels.levels}
        self._starts = {level: self._tensor(spans.starts_S) for level, spans in spans_of.items()}
        self._last = {level: self._tensor(spans.ends_S - 1) for level, spans in spans_of.items()}
        self._unnamed = {
            level: self._tensor(~spans.named_S) for level, spans in spans_of.items() if not spans.named_S.all()
        }
        self._dropped_N = self._tensor(~labels.kept_N)
        rows = labels.row_scales
        self._factor_N = None if rows is None else self._tensor(np.array(rows.factor, dtype=np.float32))
        self._bias_N = None if rows is None else self._tensor(np.array(rows.bias, dtype=np.float32))
        self._rows_per_pass = max(1, _PASS_BYTES // (4 * len(labels)))
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
        """Classify B features.

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
        log_weights_N = self._tensor(np.asarray(weights_N, dtype=np.float32)).log() if is_usable else None
        flags = () if is_usable or weights_N is None else (PRIOR_IGNORED,)
        return [
            Classification(by_rank, flags)
            for start, stop, sizes in _passes(len(features_BD), self._rows_per_pass, members_G)
            for by_rank in self._reduce(self._probabilities(features_BD[start:stop], log_weights_N, sizes), level, top)
        ]

    def sums(self, features_BD: NDArray[np.float16]) -> Iterator[tuple[int, Callable[[str], torch.Tensor]]]:
        """Yield the probabilities of all taxa, for evaluation, a few rows at a time so that memory stays bounded.

        Yields:
            The number of the first row, and a function from a level to the rows' probabilities there, on the device: one
            column per span of ``labels.spans(level)``. Call it before the next rows are requested.
        """
        for start in range(0, len(features_BD), self._rows_per_pass):
            probabilities_BN = self._probabilities(features_BD[start : start + self._rows_per_pass], None)
            for first, sums_at in self._summed(probabilities_BN):
                yield start + first, sums_at

    def logits(self, features_BD: NDArray[np.float16], members_G: Sequence[int] | None = None) -> torch.Tensor:
        """Return B×N logits in fp32 on the device, minus infinity for unused labels. The caller limits B.

        A joined set has many short blocks: the most frequent kind is computed for all rows, in one product, and the rows of
        the others are overwritten.

        Args:
            features_BD: L2-normalised rows.
            members_G: as for :meth:`classify`; the result is G×N then.
        """
        import torch

        if features_BD.shape[1] != self.labels.dimension:
            raise LabelSetError(
                f"features of {features_BD.shape[1]} numbers, but the label set has embeddings of {self.labels.dimension}; give "
                "--labels a label set that was made for this model"
            )
        common, *others = self.labels.kinds
        sizes_G = None if members_G is None else self._tensor(np.asarray(members_G))
        with torch.inference_mode():
            rows_BD = self._tensor(np.asarray(features_BD, dtype=np.float32))
            common_BD = self._query(rows_BD, common, sizes_G)
            others_BD = [self._query(rows_BD, kind, sizes_G) for kind in others]
            logits_BN = torch.empty((len(common_BD), len(self.labels)), dtype=torch.float32, device=self._device)
            for start, chunk_RD in self._converted():
                part_BR = logits_BN[:, start : start + len(chunk_RD)]
                torch.matmul(common_BD, chunk_RD.T, out=part_BR)
                if common.bias:
                    part_BR += common.bias
                if self._factor_N is not None and self._bias_N is not None:  # a probe, which has no other kinds
                    own = slice(start, start + len(chunk_RD))
                    part_BR.mul_(self._factor_N[own]).add_(self._bias_N[own])
                for kind, query_BD in zip(others, others_BD, strict=True):
                    first, last = np.searchsorted(kind.rows_R, [start, start + len(chunk_RD)])
                    if first < last:
                        rows = self._tensor(kind.rows_R[first:last] - start)
                        part_BR[:, rows] = query_BD @ chunk_RD[rows].T + kind.bias
            if self.temperature != 1.0:  # scale and bias of each kind alike
                logits_BN /= self.temperature
            return logits_BN.masked_fill_(self._dropped_N, -torch.inf)

    def _probabilities(
        self,
        features_BD: NDArray[np.float16],
        log_weights_N: torch.Tensor | None,
        members_G: Sequence[int] | None = None,
    ) -> torch.Tensor:
        """Return the softmax over all kept labels, B×N (with ``members_G`` G×N) in fp32 on the device."""
        import torch

        with torch.inference_mode():
            logits_BN = self.logits(features_BD, members_G)
            if log_weights_N is not None:
                logits_BN += log_weights_N
            return torch.softmax(logits_BN, dim=1, out=logits_BN)

    def _query(self, features_BD: torch.Tensor, kind: Kind, members_G: torch.Tensor | None) -> torch.Tensor:
        """Return features as they are compared with a kind of rows: centred like the rows, and scaled.

        Logits are linear in the result, so the mean of several rows' logits is the logits of their mean *here*: after
        centring, and without another normalisation.
        """
        import torch

        if kind.feature_mean is not None:
            centred_BD = features_BD - torch.tensor(kind.feature_mean, dtype=torch.float32, device=self._device)
            features_BD = torch.nn.functional.normalize(centred_BD, dim=1)
        if members_G is not None:
            answer_B = torch.repeat_interleave(torch.arange(len(members_G), device=self._device), members_G)
            sums_GD = features_BD.new_zeros((len(members_G), features_BD.shape[1]))
            features_BD = sums_GD.index_add_(0, answer_B, features_BD) / members_G.unsqueeze(1)
        return features_BD * kind.scale

    def _converted(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield runs of label rows in fp32 on the device. They share one buffer: use each before the next is requested."""
        import torch

        if self._resident is not None and self._resident.dtype == torch.float32:
            yield 0, self._resident
            return
        count = len(self.labels)
        rows = min(count, max(1, _CHUNK_BYTES // (4 * self.labels.dimension)))
        buffer_RD = torch.empty((rows, self.labels.dimension), dtype=torch.float32, device=self._device)
        for first in range(0, count, rows):
            last = min(first + rows, count)
            stored = self._resident if self._resident is not None else torch.from_numpy(self.labels.embeddings_ND)
            yield first, buffer_RD[: last - first].copy_(stored[first:last])

    def _reduce(self, probabilities_BN: torch.Tensor, asked: str, top: int) -> list[dict[str, tuple[Candidate, ...]]]:
        """Return each row's best candidates by level."""
        found: list[dict[str, tuple[Candidate, ...]]] = [{} for _ in range(len(probabilities_BN))]
        for start, sums_at in self._summed(probabilities_BN):
            for level in self.labels.levels:
                for row, candidates in enumerate(self._best(sums_at(level), level, top, level == asked), start):
                    if candidates:
                        found[row][level] = candidates
        return found

    def _summed(self, probabilities_BN: torch.Tensor) -> Iterator[tuple[int, Callable[[str], torch.Tensor]]]:
        """Yield runs of rows whose sums any level can be asked for: taxa are spans, so one running sum serves all levels."""
        import torch

        exact = torch.float32 if self._device == "mps" else torch.float64
        step = max(1, _RUNNING_BYTES // (8 * len(self.labels)))
        for start in range(0, len(probabilities_BN), step):
            part_BN = probabilities_BN[start : start + step]
            yield start, partial(self._sums, part_BN, part_BN.cumsum(dim=1, dtype=exact))

    def _sums(self, probabilities_BN: torch.Tensor, running_BN: torch.Tensor, level: str) -> torch.Tensor:
        """Return B×S sums of spans, as differences of the running sums (absolute error below 1e-12 in fp64)."""
        if len(self._last[level]) == len(self.labels):  # every span is one row
            return probabilities_BN
        at_ends_BS = running_BN[:, self._last[level]]
        return at_ends_BS.diff(dim=1, prepend=at_ends_BS.new_zeros((len(at_ends_BS), 1)))

    def _best(self, sums_BS: torch.Tensor, level: str, top: int, asked: bool) -> list[tuple[Candidate, ...]]:
        """Return the best possible candidates of one level for each row, most probable first."""
        if not asked and level in self._unnamed:  # only a taxon with a name at this level can become the consensus
            sums_BS = sums_BS.masked_fill(self._unnamed[level], -1.0)
        values, indices = _largest(sums_BS, top if asked else 1)
        return [
            tuple(
                Candidate(*self._taxon_at(first_row, level), min(1.0, value))
                for first_row, value in zip(first_rows, row_values, strict=True)
                if value > 0
            )
            for first_rows, row_values in zip(self._starts[level][indices].tolist(), values.tolist(), strict=True)
        ]

    def _tensor(self, values: NDArray[Any]) -> torch.Tensor:
        import torch

        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device)


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


def _largest(values_BS: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the largest values of each row and their columns, largest first, as ``topk`` does but reading less.

    The k largest values are in the k blocks of columns with the largest maxima, so only those blocks and the columns behind
    the last whole block are sorted.
    """
    import torch

    rows, columns = values_BS.shape
    count, blocks = min(count, columns), columns // _BLOCK
    if blocks <= 4 * count:
        return values_BS.topk(count, dim=1)
    device = values_BS.device
    maxima_BK = values_BS[:, : blocks * _BLOCK].view(rows, blocks, _BLOCK).amax(dim=2)
    inside_BC = (
        maxima_BK.topk(count, dim=1).indices.unsqueeze(2) * _BLOCK + torch.arange(_BLOCK, device=device)
    ).flatten(1)
    behind_BC = torch.arange(blocks * _BLOCK, columns, device=device).expand(rows, -1)
    looked_at_BC = torch.cat([inside_BC, behind_BC], dim=1)
    values, places = values_BS.gather(1, looked_at_BC).topk(count, dim=1)
    return values, looked_at_BC.gather(1, places)
