"""Options of reading published collections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bioclip_core.errors import UsageError
from bioclip_core.options import check_options

ORDINARY = "none"
"""Value of ``layout`` for sources that are read as tables and folder trees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedOptions:
    """Options of reading published collections."""

    layout: str | None = field(default=None, metadata={"metavar": "NAME|none"})
    """Read the sources as this published layout (inat21, bioscan-1m, eol, …); none: as tables and folder trees of one's own."""
    layout_option: tuple[str, ...] = field(default=(), metadata={"metavar": "NAME=VALUE"})
    """Set an option of the published layout: labels=scientific."""

    def __post_init__(self) -> None:
        check_options(self)
        _ = self.settings

    @property
    def settings(self) -> Mapping[str, str]:
        """Values of the layout's options by their names."""
        found = {}
        for text in self.layout_option:
            name, sign, value = text.partition("=")
            if not sign or not name:
                raise UsageError(
                    f"--layout-option {text!r}: a name and a value with = between them are needed, such as labels=scientific"
                )
            found[name] = value
        return found
