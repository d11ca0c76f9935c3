"""Deployments of a run's images, found once per folder and camera instead of once per image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from bioclip_core.findings import Findings
from bioclip_plugin.contracts.run_deployments import deployments_of
from bioclip_plugin.items.deployment_options import DeploymentOptions
from bioclip_plugin.items.finding_deployments import Deployments
from bioclip_plugin.items.media import MediaItem

if TYPE_CHECKING:
    from bioclip_plugin.store import Run, Store

_ANY_TIME = datetime(2000, 1, 1)


class Place(NamedTuple):
    """All that decides on the deployment of an image in a run without a table and a pattern of deployments."""

    deployment: str
    """As stated with the image; empty if it is not."""
    folder: str
    """The image's uri up to its last separator."""
    serial: str
    """Serial number of its camera."""
    has_time: bool
    """A folder stands for a deployment only of images with a time."""

    @classmethod
    def of(cls, uri: str, deployment: str | None, serial: object, *, has_time: bool) -> Place:
        """Return the place of a stored image."""
        end = max(uri.rfind("/"), uri.rfind("\\"), uri.rfind("#")) + 1
        return cls(deployment or "", uri[:end], "" if serial is None else str(serial).strip(), has_time)

    @classmethod
    def named(cls, deployment: str | None) -> Place:
        """Return the place of an image whose deployment is known; None is none."""
        return cls(deployment or "", "", "", False)

    @property
    def item(self) -> MediaItem:
        """An image of this place."""
        metadata = {"camera_serial_number": self.serial} if self.serial else {}
        moment = _ANY_TIME if self.has_time else None
        return MediaItem(self.folder + "x", captured_at=moment, deployment=self.deployment or None, metadata=metadata)


class PlaceNumbers:
    """The places of a run's images by number, in the order in which they were first seen."""

    def __init__(self, places: Iterable[Sequence[object]] = ()) -> None:
        """Begin with known places."""
        self._numbers = {Place(*place): number for number, place in enumerate(places)}  # type: ignore[arg-type]

    @property
    def places(self) -> tuple[Place, ...]:
        """The places by number."""
        return tuple(self._numbers)

    def number(self, place: Place) -> int:
        """Return the number of a place, a new one if need be."""
        return self._numbers.setdefault(place, len(self._numbers))


def names_of(places: Sequence[Place], run: Run) -> list[str]:
    """Return the name of the deployment of each place; empty for none."""
    items = [place.item for place in places]
    found = Deployments(lambda: items, run.sources, None, None, run.settings.get("time_zone"))
    return [found.completed(item).deployment or "" for item in items]


def table_of(store: Store, run: Run, findings: Findings) -> Deployments | None:
    """Return the deployments of a run by its table or pattern; None for a run without."""
    options = DeploymentOptions.from_settings(run.settings)
    return deployments_of(store, run, DeploymentOptions(), findings) if options.settings() else None
