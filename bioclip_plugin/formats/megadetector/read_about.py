"""What an image of a MegaDetector file says besides its boxes: when and where it was taken, and the rest as metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bioclip_core.cells import json_value, moment_of, position_of
from bioclip_plugin.items.media import Place
from bioclip_plugin.items.time_zones import in_zone

_FIELDS = frozenset({"file", "detections", "failure"})


@dataclass(frozen=True, slots=True)
class About:
    """What an entry says besides its boxes."""

    captured_at: datetime | None
    place: Place
    deployment: str | None
    metadata: dict[str, Any]

    def of_further_frame(self) -> About:
        """Of a video's frames the first one keeps what the file says; only the frame rate is with each."""
        kept = {name: value for name, value in self.metadata.items() if name == "frame_rate"}
        return About(self.captured_at, self.place, self.deployment, kept)


_NOTHING = About(None, Place(), None, {})


def about_of(record: Mapping[str, Any], time_zone: str | None) -> About:
    """Time, place and deployment of an entry, naive times in the zone given; what cannot be used of them is metadata."""
    rest = {name: value for name, value in record.items() if name not in _FIELDS}
    if not rest:
        return _NOTHING
    captured_at = moment_of(rest.get("datetime"))
    if captured_at is not None:
        captured_at = in_zone(captured_at, time_zone)
        del rest["datetime"]
    latitude, longitude = position_of(rest.get("latitude"), rest.get("longitude"))
    if latitude is not None:
        del rest["latitude"], rest["longitude"]
    country, deployment = rest.get("country"), rest.get("location")
    if isinstance(country, str) and country.isascii() and country.isalpha() and len(country) in (2, 3):
        country = rest.pop("country").upper()
    else:
        country = None
    deployment = rest.pop("location") if isinstance(deployment, str) and deployment.strip() else None
    metadata = {name: json_value(value) for name, value in rest.items() if value is not None}
    return About(captured_at, Place(country, None, latitude, longitude), deployment, metadata)
