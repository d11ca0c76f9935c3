"""The label matrix on a device, in chunks of a precision, and its products with queries."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classifying.columns import Columns
from bioclip_core.classifying.crew import on_each
from bioclip_core.classifying.queries import ROUNDING
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.process.machine import available_bytes

if TYPE_CHECKING:
    import torch

_CHUNK_BYTES = 4 << 20
"""Labels in fp32 at once on a CPU, so that a chunk and its products stay in the cache."""
_CHUNK_BYTES_OF_GPU = 256 << 20
_RESIDENT_BYTES = 512 << 20
"""On a CPU, labels up to this size in bf16 stay converted; more are converted in each pass."""
_RESIDENT_SHARE = 8
"""They take at most an eighth of the memory that is available."""
BLOCK = 32
"""Columns of a block."""
_LONGEST_ROW = 1.02
"""Largest norm of the rows of a label set in a folder, which is verified when it is opened."""
_FEWEST_QUERIES = 2
"""Products with one column alone add up the last rows of a chunk in another order, so that equal labels are not equal any more."""
QUERIES_TOGETHER = 16
_FEWEST_TOGETHER = 7
"""From so many on, products have a multiple of 16 columns: 11 columns take 1.6 times as long as 16."""
LOG2_E = 1.4426950408889634
_one_setting = threading.Lock()


def chunk_size(dimension: int, device: str) -> int:
    """Return the number of labels that are computed at once."""
    size = _CHUNK_BYTES_OF_GPU if device.startswith("cuda") else _CHUNK_BYTES
    return max(1, size // (4 * dimension * BLOCK)) * BLOCK


class LabelMatrix:
    """K label rows in float16 as they are stored, converted chunk by chunk."""

    def __init__(self, labels: LabelSet, columns: Columns, chunk: int, device: str) -> None:
        import torch

        self.columns = columns
        self.chunk = chunk
        self.block = BLOCK
        """Columns whose largest product and sum are kept together. Chunks are whole blocks."""
        self.device = device
        self.dimension = labels.dimension
        self._rows_K = None if columns.rows_K is None else self.tensor(columns.rows_K)
        stored_ND = torch.from_numpy(labels.embeddings_ND)
        if device != "cpu":  # the whole of it, once
            stored_ND = (stored_ND if self._rows_K is None else stored_ND[self._rows_K.cpu()]).to(device)
            self._rows_K = None
        self._stored_ND = stored_ND
        self._resident: torch.Tensor | None = None
        self._resident_off = 0.0
        self._own = threading.local()
        self.keeps_width = False
        """True to multiply with at least 16 columns, so that the products of a few rows are those that they have beside others."""
        self.longest = _LONGEST_ROW if labels.folder is not None else _longest(labels.embeddings_ND)
        """Largest norm of a row."""
        scales = labels.row_scales
        self.factor_K = None if scales is None else self._of_rows(np.array(scales.factor, dtype=np.float32))
        """Factors of a probe's rows."""
        kinds = labels.kinds
        bias_N = np.zeros(len(labels), dtype=np.float64)
        for kind in kinds:
            bias_N[kind.rows_R] = kind.bias
        if scales is not None:
            bias_N = bias_N * np.array(scales.factor) + np.array(scales.bias)
        self.bias_K: NDArray[np.float64] = bias_N if columns.rows_K is None else bias_N[columns.rows_K]
        """Biases of the columns, without temperature."""
        self._others = [self._places(kind.rows_R) for kind in kinds[1:]]

    def tensor(self, values: NDArray[Any]) -> torch.Tensor:
        import torch

        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def numbers(self, rows: int, width: int) -> torch.Tensor:
        """Return memory for rows×width numbers in fp32, whatever the host's default type and device are."""
        import torch

        return torch.empty((rows, width), dtype=torch.float32, device=self.device)

    def _of_rows(self, values_N: NDArray[Any]) -> torch.Tensor:
        rows_K = self.columns.rows_K
        return self.tensor(values_N if rows_K is None else values_N[rows_K])

    def _places(self, rows_R: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the columns of label rows, ascending; unused rows have none."""
        rows_K = self.columns.rows_K
        if rows_K is None:
            return rows_R
        place_R = np.searchsorted(rows_K, rows_R)
        is_used = place_R < len(rows_K)
        is_used[is_used] = rows_K[place_R[is_used]] == rows_R[is_used]
        return np.asarray(place_R[is_used])

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.columns.count // self.chunk)

    @property
    def is_kept(self) -> bool:
        """True if rows stay converted."""
        return self._resident is not None

    def keep(self, dtype: torch.dtype) -> None:
        """Keep the rows converted, if they are small enough."""
        import torch

        size, available = 2 * self.columns.count * self.dimension, available_bytes()
        is_plenty = available is None or size <= available // _RESIDENT_SHARE
        if self.device == "cpu" and size <= _RESIDENT_BYTES and is_plenty:
            whole_KD = torch.empty((self.columns.count, self.dimension), dtype=dtype, device=self.device)

            def convert(number: int) -> float:
                start, chunk_RD = self.read(number, torch.float32)
                kept_RD = whole_KD[start : start + len(chunk_RD)].copy_(chunk_RD)
                return float(torch.linalg.vector_norm(chunk_RD.sub_(kept_RD), dim=1).nan_to_num_(torch.inf).max())

            self._resident_off = 1.0001 * max(on_each(convert, self.chunks, self.device), default=0.0)
            self._resident = whole_KD

    def off(self, dtype: torch.dtype) -> float:
        """Return the largest norm of the difference of a row and itself after rounding: of kept rows as it is, of others a bound."""
        if self._resident is not None and self._resident.dtype == dtype:
            return self._resident_off
        return ROUNDING[str(dtype).removeprefix("torch.")] * self.longest

    def read(self, number: int, dtype: torch.dtype) -> tuple[int, torch.Tensor]:
        """Return the first column and the rows of a chunk; use them before this thread reads the next, which overwrites them."""
        import torch

        start = number * self.chunk
        stop = min(start + self.chunk, self.columns.count)
        if self._resident is not None and self._resident.dtype == dtype:
            return start, self._resident[start:stop]
        wide_RD = self.buffer("wide", torch.float32, self.dimension)[: stop - start].copy_(self._read(start, stop))
        if dtype == torch.float32:
            return start, wide_RD
        # By way of fp32: torch has no fast conversion from float16 to bfloat16.
        return start, self.buffer("own", dtype, self.dimension)[: stop - start].copy_(wide_RD)

    def buffer(self, name: str, dtype: torch.dtype, width: int) -> torch.Tensor:
        """Return memory of this thread for a chunk, R×width."""
        import torch

        kept: dict[tuple[str, torch.dtype], torch.Tensor] = self._own.__dict__.setdefault("buffers", {})
        found = kept.get((name, dtype))
        if found is None or found.shape[1] != width:
            found = kept[name, dtype] = torch.empty((self.chunk, width), dtype=dtype, device=self.device)
        return found

    def products(self, dtype: torch.dtype, width: int) -> torch.Tensor:
        """Return memory of this thread for the products of all columns; new memory costs the system as much time as they do."""
        import torch

        rows = -(-self.columns.count // self.block) * self.block
        kept: dict[torch.dtype, torch.Tensor] = self._own.__dict__.setdefault("products", {})
        if (found := kept.get(dtype)) is None or found.numel() < rows * width:
            kept.pop(dtype, None)
            found = kept[dtype] = torch.empty(rows * width, dtype=dtype, device=self.device)
        return found[: rows * width].view(rows, width)

    def _read(self, start: int, stop: int) -> torch.Tensor:
        if self._rows_K is None:
            return self._stored_ND[start:stop]
        rows_R = self._rows_K[start:stop]
        first, last = int(rows_R[0]), int(rows_R[-1])
        if last - first == stop - start - 1:
            return self._stored_ND[first : last + 1]
        return self._stored_ND.index_select(0, rows_R)

    def pairs(self, columns_P: NDArray[np.int64]) -> torch.Tensor:
        """Return the stored rows of single columns, P×D in float16; columns that follow each other are read in place."""
        first, last = int(columns_P[0]), int(columns_P[-1])
        if last - first == len(columns_P) - 1 and bool((np.diff(columns_P) == 1).all()):
            return self._read(first, last + 1)
        places_P = self.tensor(columns_P)
        return self._stored_ND.index_select(0, places_P if self._rows_K is None else self._rows_K[places_P])

    def kind_of(self, columns_P: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of each column's kind."""
        kind_P = np.zeros(len(columns_P), dtype=np.int64)
        for number, places in enumerate(self._others, 1):
            if len(places):
                found = np.minimum(np.searchsorted(places, columns_P), len(places) - 1)
                kind_P[places[found] == columns_P] = number
        return kind_P

    def queries(self, queries: Sequence[NDArray[np.float64]], dtype: torch.dtype) -> list[torch.Tensor]:
        """Return queries on the device, B×D of each kind, with rows of zeros if there are too few."""
        import torch

        found = []
        for query_BD in queries:
            missing = self.width(len(query_BD)) - len(query_BD)
            query_BD = np.concatenate([query_BD, np.zeros((missing, query_BD.shape[1]))]) if missing else query_BD
            found.append(torch.from_numpy(query_BD).to(dtype).to(self.device))
        return found

    def width(self, rows: int) -> int:
        """Return the number of rows that :meth:`queries` makes of B."""
        if rows < _FEWEST_TOGETHER and not self.keeps_width:
            return max(rows, _FEWEST_QUERIES)
        return -(-rows // QUERIES_TOGETHER) * QUERIES_TOGETHER

    def add_scales(self, products_RB: torch.Tensor, start: int, bias_K: torch.Tensor | None) -> None:
        """Turn the products of columns from ``start`` on into logits."""
        own = slice(start, start + len(products_RB))
        if self.factor_K is not None:
            products_RB.mul_(self.factor_K[own, None])
        if bias_K is not None:
            products_RB.add_(bias_K[own, None])

    def product(
        self, chunk_RD: torch.Tensor, start: int, queries: Sequence[torch.Tensor], out_RB: torch.Tensor
    ) -> None:
        """Write the products of a chunk's rows with the queries of their kinds into R×B numbers of the same type.

        A joined set has many short blocks: the most frequent kind is computed for all rows, in one product, and the rows of
        the others are overwritten.
        """
        import torch

        with _sums_in_fp32(chunk_RD):
            torch.mm(chunk_RD, queries[0].T, out=out_RB)
            for places, query_BD in zip(self._others, queries[1:], strict=True):
                first, last = np.searchsorted(places, [start, start + len(chunk_RD)])
                if first < last:
                    rows = self.tensor(places[first:last] - start)
                    out_RB[rows] = chunk_RD[rows] @ query_BD.T


def powers_of(values_RB: torch.Tensor, base_B: torch.Tensor, out_RB: torch.Tensor) -> torch.Tensor:
    """Return the powers of logits relative to a base; ``out_RB`` may be the logits' own memory.

    By powers of two: torch's ``exp`` takes up to thirty times as long where results are next to nothing.
    """
    import torch

    return torch.sub(values_RB, base_B, out=out_RB).mul_(LOG2_E).exp2_()


@contextmanager
def _sums_in_fp32(rows_RD: torch.Tensor) -> Iterator[None]:
    """Keep cuBLAS from adding up parts of products in bf16, as torch lets it by default: errors would leave their bound.

    The setting is the process's. Products of other threads are only more exact meanwhile.
    """
    import torch

    settings, name = torch.backends.cuda.matmul, "allow_bf16_reduced_precision_reduction"
    if rows_RD.dtype != torch.bfloat16 or rows_RD.device.type != "cuda":
        yield
        return
    with _one_setting:
        before, may_split = getattr(settings, name), getattr(settings, f"{name}_split_k", True)
        setattr(settings, name, False)
        try:
            yield
        finally:
            setattr(settings, name, before if may_split else (before, False))


def _longest(rows_ND: NDArray[np.float16]) -> float:
    return max(
        (
            float(np.sqrt(np.nanmax(np.einsum("rd,rd->r", chunk_RD, chunk_RD, dtype=np.float64), initial=0.0)))
            for chunk_RD in (rows_ND[start : start + 8192] for start in range(0, len(rows_ND), 8192))
        ),
        default=0.0,
    )
