"""Options of images on the web, as commands and hosts give them: the folder that they are fetched into, and the manners."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from bioclip_plugin.fetching.options import FetchOptions


@dataclass(frozen=True, slots=True)
class WebOptions(FetchOptions):
    """Folder of fetched images, with the manners and limits of fetching."""

    fetch: Path | None = field(
        default=None, metadata={"metavar": "FOLDER", "automatic": "images on the web are not fetched"}
    )
    """Fetch images whose names are http or https addresses into this folder, where the same command finds them again."""

    def settings(self) -> dict[str, Any]:
        """Return the options that differ from their defaults, as plain JSON values, for the record of a run."""
        given = {option.name: getattr(self, option.name) for option in fields(self)}
        chosen = {option.name: given[option.name] for option in fields(self) if given[option.name] != option.default}
        return {**chosen, "fetch": os.fspath(self.fetch)} if self.fetch is not None else chosen
