"""The choice between the first look and the exact path, for each group and row."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classifying.look import Look, WrongBound, look
from bioclip_core.classifying.matrix import QUERIES_TOGETHER, LabelMatrix
from bioclip_core.classifying.whole import Found, Tree, Whole
from bioclip_core.device import cpu_multiplies_bf16

if TYPE_CHECKING:
    import torch

log = logging.getLogger("bioclip_plugin.labels")

_PASS_BYTES = 128 << 20
"""Logits of one pass over the labels."""
_FEWEST_LABELS = 8192
"""A first look at fewer labels costs more than it saves."""
_COARSE = 128.0
"""Scale from which logits in fp32 are off by more than some 5e-5."""
_FEWEST_ROWS = 8
"""For fewer rows it costs as much as the exact path, unless the labels stay converted."""
_UNDECIDED = 0.5
"""Share of rows without a decision from which a first look costs more than it saves."""
_ASK_AGAIN = 16
"""Groups after which the first look is tried again."""


class Looking:
    """Best taxa of groups of rows: by a first look where most rows are decided by it, otherwise by the exact path."""

    def __init__(self, matrix: LabelMatrix, tree: Tree, scale: float) -> None:
        import torch

        self._matrix, self._tree = matrix, tree
        self._is_coarse = scale > _COARSE
        self._dtype: torch.dtype | None = torch.float32 if self._is_coarse else None
        if not self._is_coarse and matrix.columns.count >= _FEWEST_LABELS and multiplies_bf16(matrix.device):
            self._dtype = torch.bfloat16
            matrix.keep(torch.bfloat16)
        self._undecided = 0.0
        self._skipped = 0
        count, slots = matrix.columns.count, len(matrix.columns.slot_starts_S)
        self._rows_whole = max(1, _PASS_BYTES // (4 * (count + slots)))
        looked = 2 * count * (2 if self._is_coarse else 1) + 8 * count // matrix.block
        self.rows_at_once = self._rows_whole if self._dtype is None else max(1, _PASS_BYTES // looked)
        """Rows whose answers fit into one pass."""
        if matrix.device == "cpu" and count < _FEWEST_LABELS:
            # Passes of one width compute each row alike: its answer is the same, bit by bit, whatever is answered beside it.
            matrix.keeps_width = True
            self._rows_whole = min(self._rows_whole, QUERIES_TOGETHER)
            self.rows_at_once = min(self.rows_at_once, QUERIES_TOGETHER)

    def best(self, queries: Sequence[NDArray[np.float64]], bias_K: torch.Tensor | None, asked: str, top: int) -> Found:
        """Return the best taxa of B rows: ``top`` at the asked level, and one with a name at every other."""
        import torch

        rows = len(queries[0])
        with torch.inference_mode():
            seen = self._look(queries, bias_K, asked, top)
            open_rows = np.arange(rows) if seen is None else np.flatnonzero(~seen.decided_B)
            found = {} if seen is None else seen.found
            for first in range(0, len(open_rows), self._rows_whole):
                own = open_rows[first : first + self._rows_whole]
                largest_B = seen.largest_B[own] if seen is not None else None
                some = [query_BD[own] for query_BD in queries]
                keeps = Whole.needs_logits(self._tree, len(own), asked, top)
                whole = self.whole(some, bias_K, largest_B, keeps=keeps)
                exact = whole.best(asked, top)
                if len(own) == rows:
                    return exact
                for name, (values_Bk, places_Bk) in exact.items():
                    if name not in found:
                        shape = (rows, values_Bk.shape[1])
                        found[name] = (np.zeros(shape), np.zeros(shape, dtype=np.int64))
                    found[name][0][own], found[name][1][own] = values_Bk, places_Bk
        return found

    def whole(
        self,
        queries: Sequence[NDArray[np.float64]],
        bias_K: torch.Tensor | None,
        largest_B: NDArray[np.float64] | None = None,
        *,
        keeps: bool = True,
    ) -> Whole:
        """Return the probabilities of a few rows by the exact path: of every label, or (without ``keeps``) those for the best."""
        if not self._is_coarse and not _host_rounds(self._matrix.device):
            return Whole.of(self._matrix, self._tree, queries, bias_K, keeps=keeps)
        shift_B = np.zeros(len(queries[0])) if largest_B is None else largest_B
        return Whole.of(self._matrix, self._tree, queries, bias_K, np.nan_to_num(shift_B, neginf=0.0))

    def _look(
        self, queries: Sequence[NDArray[np.float64]], bias_K: torch.Tensor | None, asked: str, top: int
    ) -> Look | None:
        """Return the first look, None if it is not worth its time."""
        dtype = self._dtype  # another thread may end the first look meanwhile
        if dtype is None:
            return None
        if not self._is_coarse and len(queries[0]) < _FEWEST_ROWS and not self._matrix.is_kept:
            return None
        if not self._is_coarse and self._undecided > _UNDECIDED and self._skipped < _ASK_AGAIN:
            self._skipped += 1
            return None
        try:
            seen = look(self._matrix, self._tree, queries, bias_K, asked, top, dtype)
        except WrongBound as error:
            log.warning(
                "products in %s are not what this machine should compute (%s); every label is computed in full precision instead",
                str(dtype).removeprefix("torch."), error,
            )  # fmt: skip
            self._dtype = None
            return None
        weight = min(0.5, len(seen.decided_B) / 64)
        self._undecided += weight * (1.0 - float(seen.decided_B.mean()) - self._undecided)
        self._skipped = 0
        return seen


def multiplies_bf16(device: str) -> bool:
    """True if the device has units for products of bf16."""
    import torch

    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device == "cpu" and cpu_multiplies_bf16()


def _host_rounds(device: str) -> bool:
    """True if the host program lets torch round the numbers of fp32 products, which torch keeps for the whole process."""
    import torch

    with suppress(RuntimeError, AttributeError):  # torch refuses to say it if two of its interfaces were used
        if torch.get_float32_matmul_precision() != "highest":
            return True
    owner = torch.backends.cuda if device.startswith("cuda") else torch.backends.mkldnn
    with suppress(RuntimeError, AttributeError):
        return owner.matmul.fp32_precision not in ("none", "ieee")
    return False
