"""Options of the examination."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bioclip_core.errors import UsageError
from bioclip_core.options import check_options


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """Options of ``bioclip-plugin doctor`` and of :func:`bioclip_plugin.doctor.examine`."""

    store: str | None = field(
        default=None, metadata={"automatic": "that of bioclip.toml, else bioclip.db if it exists"}
    )
    """Result store to look at, a path or an address; it is not changed."""
    fetch: Path | None = field(default=None, metadata={"metavar": "FOLDER"})
    """Folder of fetched images to look at, as given to classify as --fetch."""
    model: str = "demo"
    """Model of the timed classification; it is not fetched."""
    no_model: bool = False
    """Import no torch: leave out device, precision, hashes of weights and the timed classification."""
    patience: float = field(default=10.0, metadata={"above": 0, "high": 3600})
    """Seconds after which a check that does not answer is given up; imports and the timed classification get six times as many."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.store is not None and not self.store.strip():
            raise UsageError(
                "store is empty: give a path, or an address such as postgresql+psycopg://USER@HOST/DATABASE"
            )

    def as_json(self) -> dict[str, Any]:
        """Return the options as plain JSON, of which they can be made again."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
