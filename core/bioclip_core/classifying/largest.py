"""The largest values of each row, equal ones in the order of their columns: the one order of equally probable taxa."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def largest(values_BT: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ``count`` largest values of each row and their columns, B×count.

    ``topk`` returns equal values in any order, and any of those that equal the last one.
    """
    if count == 1:
        values_B, places_B = values_BT.max(dim=1)  # the first of equal ones
        return values_B[:, None], places_B[:, None]
    further = min(count + 1, values_BT.shape[1])
    places_Bk, order_Bk = (found := values_BT.topk(further, dim=1)).indices.sort(dim=1)
    values_Bk, order_Bk = found.values.gather(1, order_Bk).sort(dim=1, descending=True, stable=True)
    places_Bk = places_Bk.gather(1, order_Bk)[:, :count]
    if further > count:
        last_B = values_Bk[:, count - 1]
        for row in (last_B == values_Bk[:, count]).nonzero()[:, 0].tolist():
            needed = int((values_Bk[row, :count] == last_B[row]).sum())
            places_Bk[row, count - needed :] = (values_BT[row] == last_B[row]).nonzero()[:needed, 0]
    return values_Bk[:, :count], places_Bk
