"""Cells of tables and records that other programs wrote: names of columns, numbers, coordinates, countries, and dates."""

from bioclip_core.cells.clocks import time_of
from bioclip_core.cells.coordinates import degrees_of, latitude_of, longitude_of, position_in, position_of
from bioclip_core.cells.countries import country_of, three_letters, two_letters
from bioclip_core.cells.date_orders import DateOrders
from bioclip_core.cells.moments import Dated, DateOrder, dated_of, day_of, moment_of, programs_moment, with_time
from bioclip_core.cells.numbers import number_of, plain_number_of, share_of
from bioclip_core.cells.text import UNDECODED, column_name, is_unknown, json_value, latin_1, plain_cells

__all__ = [
    "UNDECODED",
    "DateOrder",
    "DateOrders",
    "Dated",
    "column_name",
    "country_of",
    "dated_of",
    "day_of",
    "degrees_of",
    "is_unknown",
    "json_value",
    "latin_1",
    "latitude_of",
    "longitude_of",
    "moment_of",
    "number_of",
    "plain_cells",
    "plain_number_of",
    "position_in",
    "position_of",
    "programs_moment",
    "share_of",
    "three_letters",
    "time_of",
    "two_letters",
    "with_time",
]
