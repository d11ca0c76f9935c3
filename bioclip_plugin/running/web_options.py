"""Options of images on the web, as commands and hosts give them: the folder that they are fetched into, and the manners."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
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
        """Return the folder as a plain JSON value, for the record of a run; a report finds thumbnails in it.

        Manners are not recorded: they decide on no result, and a contact belongs to a person.
        """
        return {} if self.fetch is None else {"fetch": os.fspath(self.fetch)}
