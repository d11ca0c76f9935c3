"""The report of ``doctor``: versions, machine, store, models, plugins and a timed classification, with one line of advice per problem.

``examine()`` returns the :class:`Report`. This room is imported when nothing else can be: its modules import the standard library
and parts of core that need no other package, and everything else inside a check, where a failure is a line of the report.
"""

from __future__ import annotations

from bioclip_plugin.doctor.examining import examine
from bioclip_plugin.doctor.options import DoctorOptions
from bioclip_plugin.doctor.report import Fact, Problem, Report, Result, Step

__all__ = ["DoctorOptions", "Fact", "Problem", "Report", "Result", "Step", "examine"]
