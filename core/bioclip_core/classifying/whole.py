"""The exact path: every label in one pass, with running maxima and the sums of slots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioclip_core.classifying.columns import MOST_SUMMANDS, Columns, Level, split
from bioclip_core.classifying.crew import on_each, threads_on
from bioclip_core.classifying.exact import exact_logits
from bioclip_core.classifying.largest import largest
from bioclip_core.classifying.matrix import LabelMatrix, powers_of

if TYPE_CHECKING:
    import torch

Found = Mapping[str, tuple[NDArray[np.float64], NDArray[np.int64]]]
"""For each level the best probabilities of B rows, B×k with the largest first and equal ones in the order of the taxa, and their
places among its taxa."""

_FEWEST_IN_PART = 4
_KEPT_BYTES = 32 << 20
"""Logits up to this size are kept; the system takes as long to give memory for more as the best labels to be computed again."""
_FEW_BLOCKS = 64
"""Blocks per answer below which they are kept too: as many blocks as answers are computed again otherwise."""
LOWEST = -3e38
"""Stands for the maximum of labels that are all impossible, so that differences stay numbers."""


class Tree:
    """The levels of columns on a device, and sums along them in fp32: each sum is made of at most 64 sums below it."""

    def __init__(self, columns: Columns, chunk: int, matrix: LabelMatrix) -> None:
        self.columns = columns
        self.device = matrix.device
        self.block = matrix.block
        starts_S = columns.slot_starts_S
        self._numbers = matrix.tensor(np.arange(columns.count))
        self._slots_S = matrix.tensor(starts_S)
        self._bounds = np.searchsorted(starts_S, np.arange(0, columns.count + chunk, chunk)).tolist()
        self._in_chunk_S = matrix.tensor(starts_S % chunk)
        self._stages: dict[str, list[torch.Tensor]] = {}
        before = starts_S
        for level in reversed(columns.levels):
            if not level.is_single:
                stages = _stages(np.searchsorted(before, level.starts_T), len(before))
                self._stages[level.name] = [matrix.tensor(stage) for stage in stages]
                before = level.starts_T
        self.unnamed = {
            level.name: matrix.tensor(np.flatnonzero(~level.named_T))
            for level in columns.levels
            if not level.named_T.all()
        }

    def slots_in(self, number: int) -> slice:
        """Return the slots of one chunk."""
        return slice(self._bounds[number], self._bounds[number + 1])

    def slots_of_chunk(self, number: int, powers_RB: torch.Tensor) -> torch.Tensor:
        """Return the sums of the slots of one chunk."""
        return self._added(powers_RB, self._in_chunk_S[self.slots_in(number)])

    def slots(self, powers_KB: torch.Tensor) -> torch.Tensor:
        """Return the sums of all slots."""
        return self._added(powers_KB, self._slots_S)

    def sums(self, slots_SB: torch.Tensor) -> Iterator[tuple[Level, torch.Tensor]]:
        """Yield the levels that have runs, most specific first, with T×B sums; each is made of the sums below it."""
        sums_TB = slots_SB
        for level in reversed(self.columns.levels):
            if not level.is_single:
                for offsets_T in self._stages[level.name]:
                    sums_TB = self._added(sums_TB, offsets_T)
                yield level, sums_TB

    def _added(self, values_RB: torch.Tensor, offsets_T: torch.Tensor) -> torch.Tensor:
        """Return the sums of runs of rows. ``embedding_bag`` is torch's fastest kernel for it, on all cores."""
        import torch

        return torch.nn.functional.embedding_bag(self._numbers[: len(values_RB)], values_RB, offsets_T, mode="sum")


def _stages(starts_T: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """Return the places at which ``count`` numbers are added up to T sums, in stages of few summands each."""
    stages = []
    while len(starts_T) < count:
        widest = int(np.diff(starts_T, append=count).max())
        if widest <= MOST_SUMMANDS:
            stages.append(starts_T)
            break
        stage = split(count, starts_T)
        stages.append(stage)
        starts_T, count = np.searchsorted(stage, starts_T), len(stage)
    return stages


def logits_of(matrix: LabelMatrix, queries: Sequence[NDArray[np.float64]], bias_K: torch.Tensor | None) -> torch.Tensor:
    """Return logits in fp32, with further columns of minus infinity up to a whole block, and at least two columns (K×B).

    Args:
        matrix: the label rows.
        queries: B×D of each kind.
        bias_K: added to the products, minus infinity for impossible labels.
    """
    product = _Product.of(matrix, queries, bias_K, None, keeps=True)
    on_each(product.chunk, matrix.chunks, matrix.device)
    assert product.logits_KB is not None
    return product.logits_KB


@dataclass(slots=True)
class _Product:
    """Logits that are computed chunk by chunk."""

    matrix: LabelMatrix
    of_kinds: list[torch.Tensor]
    bias_K: torch.Tensor | None
    shift_B: torch.Tensor | None
    """About the largest logit of each row, to be taken off. The products are computed in fp64 then: fp32 is too coarse at
    large scales."""
    logits_KB: torch.Tensor | None
    """All of them; None if they are not kept."""

    @classmethod
    def of(
        cls,
        matrix: LabelMatrix,
        queries: Sequence[NDArray[np.float64]],
        bias_K: torch.Tensor | None,
        shift_B: NDArray[np.float64] | None,
        *,
        keeps: bool,
    ) -> _Product:
        import torch

        width = matrix.width(len(queries[0]))
        logits_KB = matrix.numbers(-(-matrix.columns.count // matrix.block) * matrix.block, width) if keeps else None
        if shift_B is None:
            return cls(matrix, matrix.queries(queries, torch.float32), bias_K, None, logits_KB)
        shift = torch.zeros(width, dtype=torch.float64, device=matrix.device)
        shift[: len(shift_B)] = matrix.tensor(shift_B)
        return cls(matrix, matrix.queries(queries, torch.float64), bias_K, shift, logits_KB)

    def chunk(self, number: int) -> torch.Tensor:
        """Compute the logits of a chunk, with further ones of minus infinity up to a whole block, and return them while they are in
        the cache."""
        import torch

        dtype = self.of_kinds[0].dtype
        start, chunk_RD = self.matrix.read(number, dtype)
        rows, width = len(chunk_RD), len(self.of_kinds[0])
        whole = -(-rows // self.matrix.block) * self.matrix.block
        if self.logits_KB is None:
            part_RB = self.matrix.buffer("logits", torch.float32, width)[:whole]
        else:
            part_RB = self.logits_KB[start : start + whole]
        part_RB[rows:] = -torch.inf
        out_RB = part_RB[:rows]
        if self.shift_B is not None:
            out_RB = self.matrix.buffer("product", dtype, width)[:rows]
        self.matrix.product(chunk_RD, start, self.of_kinds, out_RB)
        self.matrix.add_scales(out_RB, start, self.bias_K)
        if self.shift_B is not None:
            part_RB[:rows].copy_(out_RB.sub_(self.shift_B))
        return part_RB


@dataclass(slots=True)
class Whole:
    """Logits of B rows over all K columns, and the sums of their powers."""

    matrix: LabelMatrix
    tree: Tree
    queries: Sequence[NDArray[np.float64]]
    bias_K: torch.Tensor | None
    logits_KB: torch.Tensor | None
    """In fp32, with further columns of minus infinity up to a whole block, and with further rows if there are very few. None if
    only their largest are kept, which spares memory and a third of the time."""
    maxima_LB: torch.Tensor
    """Largest logit of each block."""
    slots_SB: torch.Tensor
    """Sums of the powers of the slots in fp32, relative to the maxima of their chunks."""
    shares_CB: torch.Tensor
    """Factor of each chunk, to probabilities."""
    log_total_B: torch.Tensor
    """Logarithm of the sum of the powers of each row's logits."""

    @classmethod
    def of(
        cls,
        matrix: LabelMatrix,
        tree: Tree,
        queries: Sequence[NDArray[np.float64]],
        bias_K: torch.Tensor | None,
        shift_B: NDArray[np.float64] | None = None,
        *,
        keeps: bool = True,
    ) -> Whole:
        """Compute every label, and add up its power.

        Args:
            matrix: the label rows.
            tree: their taxa.
            queries: B×D of each kind.
            bias_K: added to the products, minus infinity for impossible labels.
            shift_B: about the largest logit of each row, for products in fp64.
            keeps: keep all logits, which :meth:`sums_at` needs.
        """
        product = _Product.of(matrix, queries, bias_K, shift_B, keeps=keeps)
        width, per_chunk = matrix.width(len(queries[0])), matrix.chunk // matrix.block
        slots_SB = matrix.numbers(len(tree.columns.slot_starts_S), width)
        maxima_LB = matrix.numbers(-(-matrix.columns.count // matrix.block), width)
        bases_CB, totals_CB = (matrix.numbers(matrix.chunks, width) for _ in range(2))

        def add(number: int) -> None:
            import torch

            part_RB = product.chunk(number)
            blocks = slice(number * per_chunk, number * per_chunk + len(part_RB) // matrix.block)
            torch.amax(part_RB.view(-1, matrix.block, width), dim=1, out=maxima_LB[blocks])
            base_B = bases_CB[number] = maxima_LB[blocks].amax(dim=0).clamp_(min=LOWEST)
            part_RB = part_RB[: matrix.columns.count - number * matrix.chunk]
            powers_RB = matrix.buffer("powers", torch.float32, width)[: len(part_RB)] if keeps else part_RB
            sums = tree.slots_of_chunk(number, powers_of(part_RB, base_B, powers_RB))
            slots_SB[tree.slots_in(number)] = sums
            totals_CB[number] = sums.sum(dim=0)

        on_each(add, matrix.chunks, matrix.device)
        largest_B = bases_CB.amax(dim=0)
        shares_CB = bases_CB.sub_(largest_B).exp_()
        total_B = (totals_CB.double() * shares_CB).sum(dim=0)
        log_total_B = largest_B.double() + total_B.log()
        return cls(
            matrix,
            tree,
            queries,
            bias_K,
            product.logits_KB,
            maxima_LB,
            slots_SB,
            shares_CB / total_B.float(),
            log_total_B,
        )

    @staticmethod
    def needs_logits(tree: Tree, rows: int, asked: str, top: int) -> bool:
        """True if the best taxa are found quicker, or only, with all logits at hand."""
        blocks = -(-tree.columns.count // tree.block)
        single = [level for level in tree.columns.levels if level.is_single]
        return 4 * rows * tree.columns.count <= _KEPT_BYTES or any(
            blocks <= _FEW_BLOCKS * (top if level.name == asked else 1)
            or (level.name != asked and level.name in tree.unnamed)
            for level in single
        )

    def best(self, asked: str, top: int) -> dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]:
        """Return the best taxa of each level: ``top`` at the asked one, one with a name at every other."""
        parts = row_parts(len(self.queries[0]), self.tree.device)
        found = on_each(lambda number: self._best(parts[number], asked, top), len(parts), self.tree.device)
        return {
            name: (np.concatenate([part[name][0] for part in found]), np.concatenate([part[name][1] for part in found]))
            for name in found[0]
        }

    def _best(self, rows: slice, asked: str, top: int) -> dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]:
        levels = self.tree.columns.levels
        found = {level.name: self._best_labels(level, rows, asked, top) for level in levels if level.is_single}
        for level, sums_TB in self.tree.sums(self._probabilities(rows)):
            if level.name != asked and level.name in self.tree.unnamed:
                sums_TB = sums_TB.index_fill(0, self.tree.unnamed[level.name], -1.0)
            count = min(top if level.name == asked else 1, len(sums_TB))
            values_Bk, places_Bk = largest(sums_TB.T.contiguous(), count)
            found[level.name] = (values_Bk.cpu().double().numpy(), places_Bk.cpu().numpy())
        return found

    def _probabilities(self, rows: slice) -> torch.Tensor:
        """Return the probabilities of slots, S×B."""
        import torch

        slots_SB = self.slots_SB[:, rows].clone(memory_format=torch.contiguous_format)
        for number, share_B in enumerate(self.shares_CB[:, rows]):
            slots_SB[self.tree.slots_in(number)] *= share_B
        return slots_SB

    def sums_at(self, name: str) -> torch.Tensor:
        """Return the probabilities of one level's taxa, B×T on the device."""
        rows = slice(0, len(self.queries[0]))
        for level, sums_TB in self.tree.sums(self._probabilities(rows)):
            if level.name == name:
                return sums_TB.T.contiguous()
        assert self.logits_KB is not None
        # In fp64, where different logits have different probabilities, and so the order that `best` gives them.
        logits_BK = self.logits_KB[: self.tree.columns.count, rows].T.contiguous().double()
        return logits_BK.sub_(self.log_total_B[rows, None]).exp_()

    def _best_labels(
        self, level: Level, rows: slice, asked: str, top: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the best labels.

        The k largest are in the k blocks of columns with the largest maxima, so only those blocks are sorted. Of equal maxima the
        first blocks are taken, so that equal labels stay in order.
        """
        import torch

        count = min(top if level.name == asked else 1, self.tree.columns.count)
        if self.logits_KB is None:
            values_Bk, places_Bk = self._computed_again(rows, count)
        else:
            logits_KB, block = self.logits_KB[:, rows], self.tree.block
            if level.name != asked and level.name in self.tree.unnamed:
                logits_KB = logits_KB.index_fill(0, self.tree.unnamed[level.name], -torch.inf)
            if len(logits_KB) <= 4 * block * count:
                values_Bk, places_Bk = largest(logits_KB.T.contiguous(), count)
            else:
                cubes = cubes_of(logits_KB, block)
                chosen_Bk = largest(cubes.amax(dim=1).T.contiguous(), count)[1].sort(dim=1).values
                rows_B1 = torch.arange(logits_KB.shape[1], device=logits_KB.device)[:, None]
                values_Bk, inside = largest(cubes[chosen_Bk, :, rows_B1].flatten(1), count)
                places_Bk = chosen_Bk.gather(1, inside // block) * block + inside % block
        powers = (values_Bk - self.log_total_B[rows, None]).exp()
        # Without enough possible labels the columns behind the last are among the best, with a probability of zero.
        return powers.cpu().double().numpy(), places_Bk.clamp_(max=self.tree.columns.count - 1).cpu().numpy()

    def _computed_again(self, rows: slice, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the largest logits and their columns, from the blocks with the largest maxima, whose labels are computed once more."""
        import torch

        block = self.tree.block
        chosen_Bk = largest(self.maxima_LB[:, rows].T.contiguous(), count)[1].sort(dim=1).values.cpu().numpy()
        columns_BC = (chosen_Bk[:, :, None] * block + np.arange(block)).reshape(len(chosen_Bk), -1)
        within_BC = np.minimum(columns_BC, self.tree.columns.count - 1)
        rows_BC = np.broadcast_to(np.arange(rows.start, rows.stop)[:, None], columns_BC.shape)
        with np.errstate(all="ignore"):  # whatever the host has set
            found = exact_logits(self.matrix, self.queries, self.bias_K, rows_BC.ravel(), within_BC.ravel())
            logits_BC = np.where(columns_BC == within_BC, found.reshape(columns_BC.shape), -np.inf).astype(np.float32)
        values_Bk, inside = largest(torch.from_numpy(logits_BC), count)
        places_Bk = torch.from_numpy(columns_BC).gather(1, inside)
        return values_Bk.to(self.tree.device), places_Bk.to(self.tree.device)


def cubes_of(values_KB: torch.Tensor, block: int) -> torch.Tensor:
    """Return columns block by block, L×block×B, as a view."""
    rows, width = values_KB.stride()
    shape = (len(values_KB) // block, block, values_KB.shape[1])
    return values_KB.as_strided(shape, (rows * block, rows, width), values_KB.storage_offset())


def row_parts(rows: int, device: str) -> list[slice]:
    """Return about equal runs of rows, one per thread; very few rows stay together."""
    parts = max(1, min(threads_on(device), rows // _FEWEST_IN_PART))
    ends = [rows * number // parts for number in range(parts + 1)]
    return [slice(*ends[number : number + 2]) for number in range(parts)]
