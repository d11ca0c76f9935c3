"""Times at which reviews were made, as a file states them."""

from __future__ import annotations

from datetime import datetime, time, tzinfo

from bioclip_core.cells import DateOrder, DateOrders, is_unknown
from bioclip_core.cells.date_orders import Cells
from bioclip_core.findings import Findings


class UnreadableTimeError(ValueError):
    """A cell that is neither a date nor a time; the text is the reason."""


class ReviewTimes:
    """Reads the times of one file's reviews; the order of day and month is that of the whole column."""

    def __init__(
        self, file: str, cells: Cells, zone: tzinfo | None, findings: Findings, order: DateOrder | None = None
    ) -> None:
        """Begin a file.

        Args:
            file: its name in messages.
            cells: reads the file again, and returns the cells of a column with the names of their records.
            zone: of times without an offset; None leaves them as they are.
            findings: counts what was decided about dates.
            order: the order that the user gave.
        """
        self._orders = DateOrders(file, cells, findings, order)
        self._zone = zone

    def read(self, column: str, cell: object, record: str) -> datetime | None:
        """Return the time in a cell, midnight for a day; None for a cell without a value.

        Raises:
            UnreadableTimeError: for any other cell.
            SourceError: for a date whose order neither its column nor an option shows.
        """
        if is_unknown(cell):
            return None
        dated = self._orders.read(column, cell, record)
        moment = dated.moment if dated is not None else None
        if dated is not None and moment is None and dated.day is not None:
            moment = datetime.combine(dated.day, time())
        if moment is None:
            raise UnreadableTimeError(
                f"time {str(cell)!r}: it cannot be read as a date; give one such as 2024-05-06T12:00:00+02:00"
            )
        return moment if moment.tzinfo or self._zone is None else moment.replace(tzinfo=self._zone)
