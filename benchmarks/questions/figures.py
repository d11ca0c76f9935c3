"""Shares and differences with 95% intervals over species, since plates of one species are not independent evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bioclip_core.taxonomy import Rank, Taxon
from bioclip_training.evidence.intervals import difference_interval, share_interval


@dataclass(frozen=True, slots=True)
class Sample:
    """Hits of N plates with their clusters (a species of a world). ``+`` joins samples of several worlds."""

    hits_N: NDArray[np.float64]
    clusters_N: NDArray[np.int64]
    is_difference: bool = False

    def __add__(self, other: Sample) -> Sample:
        shift = int(self.clusters_N.max(initial=-1)) + 1
        return replace(
            self,
            hits_N=np.concatenate([self.hits_N, other.hits_N]),
            clusters_N=np.concatenate([self.clusters_N, other.clusters_N + shift]),
        )

    def minus(self, other: Sample) -> Sample:
        """Return the difference plate by plate. Both samples must have the same plates."""
        if not np.array_equal(self.clusters_N, other.clusters_N):
            raise ValueError("a difference needs two samples of the same plates")
        return Sample(self.hits_N - other.hits_N, self.clusters_N, is_difference=True)

    @property
    def mean(self) -> float:
        return float(self.hits_N.mean()) if len(self.hits_N) else float("nan")

    def interval(self) -> tuple[float, float]:
        """Return the 95% interval over species; NaN for a single one."""
        return (difference_interval if self.is_difference else share_interval)(self.hits_N, self.clusters_N)


def joined(samples: Sequence[Sample]) -> Sample:
    """Join the samples of several worlds."""
    first, *others = samples
    for other in others:
        first = first + other
    return first


def averaged(samples: Sequence[Sample]) -> Sample:
    """Return the mean of several tests on the same plates, plate by plate."""
    return replace(samples[0], hits_N=np.mean([sample.hits_N for sample in samples], axis=0))


def hits(
    answers_N: NDArray[np.int64], truth_N: NDArray[np.int64], taxa: Sequence[Taxon], rank: Rank, of: Sequence[int]
) -> Sample:
    """Compare answered and true species down to a rank, for the plates of the species in ``of``."""
    names = [taxon.lineage[: rank.depth + 1] for taxon in taxa]
    inside_N = np.isin(truth_N, list(of))
    pairs = zip(answers_N[inside_N].tolist(), truth_N[inside_N].tolist(), strict=True)
    return Sample(np.array([names[one] == names[other] for one, other in pairs], dtype=np.float64), truth_N[inside_N])


def percent(sample: Sample) -> str:
    """Format a share in percent: ``61.3 [57.0, 65.1]``."""
    low, high = sample.interval()
    return f"{100 * sample.mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def points(sample: Sample) -> str:
    """Format a difference in percentage points, with its sign: ``+4.2 [+1.0, +7.5]``."""
    low, high = sample.interval()
    return f"{100 * sample.mean:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
