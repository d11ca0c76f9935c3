"""Clocks of one camera that do not agree: images in local time beside videos in UTC."""

from __future__ import annotations

from datetime import datetime

from bioclip_core.findings import Findings
from bioclip_plugin.items.deployments import Membership
from bioclip_plugin.items.media import MediaItem
from bioclip_plugin.items.time_zones import in_zone


class StreamClocks:
    """Streams with images in local time and videos in UTC."""

    def __init__(self, assumed: str | None) -> None:
        """``assumed``: time zone that the run put times without an offset into."""
        self._assumed = assumed
        self._first: dict[int, tuple[str, str]] = {}  # by stream: an image in local time, and a video in UTC
        self._videos: dict[int, int] = {}

    def add(self, item: MediaItem, member: Membership) -> None:
        """Note the clock of an image or a frame."""
        moment, key = item.captured_at, hash(member.group)
        if moment is None or not member.group:
            return
        local, video = self._first.get(key, ("", ""))
        if self._is_local(moment):
            self._first[key] = (local or item.uri, video)
        elif "video_seconds" in item.metadata and not moment.utcoffset() and not item.frame:
            self._first[key], self._videos[key] = (local, video or item.uri), self._videos.get(key, 0) + 1

    def _is_local(self, moment: datetime) -> bool:
        """True for a time without an offset, also if the run put it into a zone other than UTC."""
        if moment.tzinfo is None or self._assumed is None:
            return moment.tzinfo is None
        offset = moment.utcoffset()
        return bool(offset) and in_zone(moment.replace(tzinfo=None), self._assumed).utcoffset() == offset

    def report(self, findings: Findings) -> None:
        """Report the videos in UTC that are beside images in local time."""
        for key, (local, video) in self._first.items():
            if local and video:
                findings.add(
                    "videos were read as UTC, and images of the same deployment have times without an offset; if the videos have "
                    "the camera's local time, classify with --video-clock local",
                    f"{video}, beside {local}",
                    self._videos[key],
                )
