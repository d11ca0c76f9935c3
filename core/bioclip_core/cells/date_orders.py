"""The order of day and month in the dates of a column: decided once for the whole column."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bioclip_core.cells.moments import Dated, DateOrder, dated_of
from bioclip_core.errors import SourceError
from bioclip_core.findings import Findings

Cells = Callable[[str], Iterable[tuple[str, object]]]
"""Function that reads a file again, and returns the cells of one of its columns, each with the name of its record."""


class DateOrders:
    """Reads the dates of one file. The first date that shows its order decides that of its column.

    A date that does not, such as 03/04/2024 at the beginning of a column, has the rest of the column looked at before it is
    read. If no row shows the order, the user's option decides it; without an option reading stops.
    """

    def __init__(
        self, file: str, cells: Cells, findings: Findings, given: DateOrder | None = None, own: DateOrder | None = None
    ) -> None:
        """Begin a file.

        Args:
            file: its name in messages.
            cells: reads it again; called at most once per column.
            findings: counts what is wrong.
            given: the order that the user gave.
            own: the order in which the program writes that the file is from.
        """
        self._file, self._cells, self._findings, self._given, self._own = file, cells, findings, given, own
        self._orders: dict[str, DateOrder] = {}
        self._shown_by: dict[str, str] = {}
        self._decided: set[str] = set()

    def read(self, column: str, cell: object, record: str) -> Dated | None:
        """Return the time that a cell of a column states; None if it cannot be read, or contradicts its column's order.

        Raises:
            SourceError: if day and month may be exchanged, and neither the column nor an option shows the order.
        """
        if self._given:
            self._findings.used.add("date_order")
        dated = dated_of(cell, self._orders.get(column))
        if dated is not None and dated.is_open:
            dated = dated_of(cell, self._order_of(column, cell, record, has_dots=dated.has_dots))
        if dated is None or (dated.order is not None and not self._fits(column, dated.order, record, cell)):
            return None
        if dated.has_short_year and dated.moment is not None:
            self._found(f"years of two digits in {column} are read as 1970 to 2069", record, cell)
        return dated

    def _order_of(self, column: str, cell: object, record: str, *, has_dots: bool) -> DateOrder:
        """Return the order of a date that does not show it.

        Raises:
            SourceError: if neither its column nor an option shows it.
        """
        if column not in self._decided:
            self._decide(column)
        order = self._orders.get(column)
        if order is not None:
            return order
        if has_dots:
            self._found(
                f"dates with dots in {column} are read with the day first, as no row shows the order", record, cell
            )
            return "day"
        raise SourceError(
            f"{self._at(record)}: {column} is {str(cell)!r}, which has the day or the month first, and no row of the column "
            "shows which; give --day-first or --month-first"
        )

    def _fits(self, column: str, order: DateOrder, record: str, cell: object) -> bool:
        """Note the order that a date shows; False if its column has the other one."""
        known = self._orders.setdefault(column, order)
        if known == order:
            self._shown_by.setdefault(column, f"{record}: {str(cell)!r}")
            return True
        shown = f", as in {self._shown_by[column]}" if column in self._shown_by else ""
        self._findings.add(
            f"dates in {column} contradict the order of the column, which has the {known} first{shown}; they are not read",
            f"{self._at(record)}: {str(cell)!r}",
        )
        return False

    def _decide(self, column: str) -> None:
        """Look for the first date of the column that shows its order; without one the order that was given counts."""
        self._decided.add(column)
        for record, cell in self._cells(column):
            if (dated := dated_of(cell)) and dated.order is not None:
                self._fits(column, dated.order, record, cell)
                if self._given not in (None, dated.order):
                    self._found(
                        f"columns have the {dated.order} first, other than the option says: {column}", record, cell
                    )
                return
        if order := self._given or self._own:
            self._orders[column] = order

    def _found(self, text: str, record: str, cell: object) -> None:
        self._findings.add(text, f"{self._at(record)}: {str(cell)!r}")

    def _at(self, record: str) -> str:
        return f"{self._file}, {record}"
