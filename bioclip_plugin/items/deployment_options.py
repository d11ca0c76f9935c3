"""Options that say which deployment an image belongs to: the same ones wherever deployments matter."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bioclip_core.errors import DataError, UsageError
from bioclip_core.identity import file_sha256
from bioclip_core.options import check_options

_FORMS = (
    "give folder:1 for the first folder below the images' common one, folder:-1 for the folder of the image, or a regular "
    "expression over the path with the name in parentheses, such as 'survey/([^/]+)/'"
)


class Pattern:
    """The name of a deployment in the path of an image."""

    def __init__(self, text: str) -> None:
        """Read a pattern.

        Raises:
            UsageError: for a text that is not one.
        """
        numbered = re.fullmatch(r"folder:([+-]?\d+)", text.strip())
        self._number = int(numbered[1]) if numbered else 0
        self._expression = re.compile("")
        if numbered and not self._number:
            raise UsageError(f"deployment_from {text!r}: folders are counted from 1; {_FORMS}")
        if numbered:
            return
        try:
            self._expression = re.compile(text)
        except re.error as error:
            raise UsageError(f"deployment_from {text!r} is not a regular expression ({error}); {_FORMS}") from None
        if not self._expression.groups:
            raise UsageError(f"deployment_from {text!r} names no part of the path; {_FORMS}")
        self._group: str | int = "deployment" if "deployment" in self._expression.groupindex else 1

    def name(self, folders: Sequence[str], path: str) -> str:
        """Return the name that a path has; empty if it has none.

        Args:
            folders: below the common folder, without those that a camera makes.
            path: the whole path below the common folder, with slashes.
        """
        if self._number:
            place = self._number - 1 if self._number > 0 else self._number
            return folders[place] if -len(folders) <= place < len(folders) else ""
        match = self._expression.search(path)
        return (match[self._group] or "").strip() if match else ""


DEPLOYMENT_SETTINGS = ("deployments", "deployment_from")
"""Names of the options in the settings of a run."""


@dataclass(frozen=True, slots=True)
class DeploymentOptions:
    """Options that say which deployment an image belongs to."""

    deployments: Path | None = None
    """Table of deployments: deploymentID with the columns latitude, longitude, deploymentStart, deploymentEnd, timeZone, clock_shift.

    An image belongs to the row that is called like the nearest folder above it.
    """
    deployment_from: str | None = field(default=None, metadata={"check": Pattern, "metavar": "PATTERN"})
    """Part of the path that names the deployment: folder:1, folder:-1, or a regular expression with one group."""

    def __post_init__(self) -> None:
        check_options(self)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> DeploymentOptions:
        """Return the options in the stored settings of a run."""
        table = settings.get("deployments")
        return cls(Path(table) if table else None, settings.get("deployment_from"))

    def settings(self) -> dict[str, Any]:
        """Return the options that are given, as plain JSON values."""
        table = {"deployments": os.path.abspath(self.deployments)} if self.deployments else {}  # noqa: PTH100
        return table | ({"deployment_from": self.deployment_from} if self.deployment_from else {})

    def identity(self) -> dict[str, str]:
        """Return the options as a part of an identity: the table by its content; empty without options.

        Raises:
            UsageError: if the table cannot be read.
        """
        identity = {"from": self.deployment_from} if self.deployment_from else {}
        if self.deployments:
            try:
                identity["table"] = f"sha256:{file_sha256(self.deployments)}"
            except OSError as error:
                raise DataError(
                    f"the table of deployments {self.deployments} cannot be read: {error.strerror or error}; give it with "
                    "--deployments"
                ) from None
        return identity

    def or_those_of(self, settings: Mapping[str, Any]) -> DeploymentOptions:
        """Return these options; if none is given, those in the stored settings of a run."""
        plain = DeploymentOptions(self.deployments, self.deployment_from)  # without the fields of a subclass
        return plain if plain.settings() else DeploymentOptions.from_settings(settings)
