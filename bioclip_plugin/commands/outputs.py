"""What the outputs of commands may not take the place of, beside what :mod:`bioclip_core.files.whole` knows by itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_core.errors import BioclipError
from bioclip_plugin.items.media import uri_of

if TYPE_CHECKING:
    from bioclip_plugin.store import Store


def refuse_listed_image(store: Store, output: Path) -> None:
    """See that an output does not take the place of an image, or of a file that images were listed from.

    Raises:
        BioclipError: if it would.
    """
    if not output.is_file():
        return
    seen_from_here = Path(os.path.relpath(output))
    names = {uri_of(name) for name in (output, output.absolute(), output.resolve(), seen_from_here)}
    sources = {source for run in store.runs() for source in run.sources}
    if names & sources or store.regions_of([(name, 0) for name in names]):
        raise BioclipError(f"the output {output} is a file that this store has results of: give another name")
