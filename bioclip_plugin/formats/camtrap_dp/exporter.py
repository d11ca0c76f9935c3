"""The Camtrap DP exporter: a folder or zip file with deployments, media and observations, and our candidates beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.formats.camtrap_dp.package import is_package

if TYPE_CHECKING:
    from bioclip_plugin.contracts.export import Export
    from bioclip_plugin.contracts.problem import Problem


class CamtrapDpExporter:
    """Camtrap DP 1.0.2: media- and event-level observations, with a linked table of candidates and one of the run.

    The observations of people go out beside the machine's; of an event that a person spoke of there is no observation of the
    machine. Media files are named, not copied.
    """

    name = "camtrap-dp"
    description = "a Camera Trap Data Package 1.0.2, as GBIF and camera-trap programs read it"
    folder = True

    @property
    def files(self) -> Collection[str]:
        """All that a package of ours consists of."""
        from bioclip_plugin.formats.camtrap_dp.write_tables import DESCRIPTOR, WRITTEN, file_of

        return (DESCRIPTOR, *map(file_of, WRITTEN))

    def write(self, path: Path, export: Export) -> int:
        from bioclip_plugin.formats.camtrap_dp.write import write_package

        return write_package(path, export)

    def recognises(self, path: Path) -> bool:
        return is_package(str(path))

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:
        from bioclip_plugin.formats.camtrap_dp.check import camtrap_dp_problems

        return camtrap_dp_problems(path, options.base_folder)
