"""Video files as items: which frames, at what moment, under which number; reads packets and decodes none."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_core.cells import moment_of, position_of
from bioclip_core.errors import ImageError, UsageError
from bioclip_core.findings import Findings
from bioclip_plugin.contracts.source import VideoClock
from bioclip_plugin.items.media import MediaItem, Unlisted
from bioclip_plugin.opening.refusals import not_installed, reason_of

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Suffixes that trail cameras, phones and underwater rigs write.
SUFFIXES = frozenset(".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .wmv .asf .mts .m2ts .3gp .3g2 .flv .ogv".split())

# Containers that are read. Those that name other files or addresses (playlists, concat lists) are not: the content of a
# file is never a reason to open another one.
_FORMATS = "mov,matroska,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,mxf,dv,h264,hevc,m4v,mjpeg"
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}

_SLACK_S = 0.002  # times in a container are rounded, in Matroska to a millisecond
_TIMELESS = (
    "videos state no time of recording; if their files have the dates that the camera gave them, classify with --video-clock "
    "file-date"
)
_CUT_OFF_S = 0.5  # an end this long before the announced one is a file cut short, not rounding


def is_video(path: Path) -> bool:
    """True if the name has a video's suffix: a listing opens no file to find out."""
    return path.suffix.lower() in SUFFIXES


def opened(path: Path) -> InputContainer:
    """Open a video file for reading.

    Raises:
        ImageError: if it cannot be opened, or PyAV is not installed.
    """
    try:
        import av
    except ImportError:
        raise not_installed("video", "PyAV", "video") from None
    try:
        if path.stat().st_size == 0:
            raise ImageError("the file is empty (0 bytes)", stage="read")
        # An absolute path: "http:x.mp4" is a name on disk, and an address to FFmpeg.
        return av.open(str(path.absolute()), options=_OPTIONS, metadata_errors="replace")
    except av.error.EOFError:
        raise ImageError("the video is without frames: the file ends with its header", stage="open") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise ImageError(f"the video cannot be opened: {reason_of(error)}", stage="open") from error


def video_stream(container: InputContainer) -> VideoStream:
    """Return the largest video stream.

    Raises:
        ImageError: if the file is without moving pictures.
    """
    from av.stream import Disposition

    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        raise ImageError(
            f"the file holds {'sound only' if container.streams.audio else 'no pictures'}, no video", stage="open"
        )
    return max(streams, key=lambda stream: (stream.codec_context.width or 0) * (stream.codec_context.height or 0))


def frames_of(
    item: MediaItem,
    path: Path,
    frames_per_second: float,
    clock: VideoClock = "utc",
    findings: Findings | None = None,
) -> Iterator[MediaItem | Unlisted]:
    """Yield an item for each sampled frame of a video, in order, and at most one entry for what cannot be listed.

    The time of each frame decides, since rates in headers are wrong for cameras that slow down in the dark. It is taken from
    the file's index, or, where that lacks it, by reading the file once, its packets without decoding. A sample is the first
    frame at or after its time; a gap without frames gives none.

    Args:
        frames_per_second: samples per second of the video; more than it has gives every frame.
        clock: meaning of the times in the container; ``file-date`` for the date of the file instead.
        findings: where a video without a time is reported.

    Raises:
        UsageError: if the rate is not a number above 0.
    """
    if not (math.isfinite(frames_per_second) and frames_per_second > 0):
        raise UsageError(f"frames per second {frames_per_second}: allowed are numbers above 0, such as 1 or 0.2")
    try:
        with opened(path) as container:
            stream = video_stream(container)
            written = {**container.metadata, **stream.metadata}
            times_s, trouble = _times(container, stream)
            rate = float(stream.average_rate or 0)
            announced_s = _announced_s(container, stream)
    except ImageError as error:
        yield Unlisted(item.uri, str(error), item.frame)
        return
    start, place = item.captured_at, item.place
    begins = _begins_at(path, written, clock) if start is None else start
    if start is None and begins is not None and item.admits(begins):
        start = begins
    if place.latitude is None and "position" not in item.unread:
        latitude, longitude = _position(written)
        place = replace(place, latitude=latitude, longitude=longitude)
    metadata: dict[str, str | float] = {
        ours: written[theirs] for theirs, ours in _CAMERA.items() if written.get(theirs)
    }
    if rate:
        metadata["frame_rate"] = round(rate, 4)
    for number, seconds in _sampled(times_s, frames_per_second):
        yield replace(
            item,
            frame=number,
            captured_at=_later(start, seconds),
            place=place,
            metadata={**metadata, "video_seconds": round(seconds, 3), **item.metadata},
            # A time that an earlier run took from another clock is not kept.
            unread=item.unread | {"captured_at"} if start is None else item.unread,
        )
    if begins is None and findings is not None:
        findings.add(_TIMELESS, item.uri)
    ends_s = times_s[-1] + (1 / rate if rate else 0) if times_s else 0.0
    if not times_s or trouble or announced_s - ends_s >= max(_CUT_OFF_S, 1 / frames_per_second):
        yield Unlisted(item.uri, _missing(times_s, announced_s, trouble), len(times_s) or item.frame)


def _missing(times_s: Sequence[float], announced_s: float, trouble: str) -> str:
    """Return the reason why a video has fewer frames than it announces, or none."""
    because = f": {trouble}" if trouble else ""
    if not times_s:
        return f"the video is without frames{because}"
    lost = f" of {announced_s:.1f} announced seconds" if announced_s > times_s[-1] else ""
    return f"the video is truncated: it ends after {len(times_s)} frames ({times_s[-1]:.1f} s){lost}{because}"


# -- when each frame is shown ------------------------------------------------------------------------------------------


def _times(container: InputContainer, stream: VideoStream) -> tuple[list[float], str]:
    """Return the time of each frame in seconds since the first, and the reason if reading ended before the end of the file."""
    import av

    stamps = _indexed(container, stream)
    untimed, trouble = 0, ""
    if stamps is None:
        stamps = array("q")
        try:
            for packet in container.demux(stream):
                if packet.is_discard or not packet.size:
                    continue
                if packet.pts is None:
                    untimed += 1
                else:
                    stamps.append(packet.pts)
        except av.error.FFmpegError as error:
            trouble = reason_of(error)
    unit_s = float(stream.time_base or 0)
    if untimed or not unit_s:  # common for MPEG-4 in AVI: frames follow each other at the stated rate
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        return [number / rate for number in range(untimed + len(stamps))], trouble
    ordered = sorted(stamps)  # packets come in the order of decoding
    return [(stamp - ordered[0]) * unit_s for stamp in ordered], trouble


def _indexed(container: InputContainer, stream: VideoStream) -> array[int] | None:
    """Return the frames' times out of the file's own index; None where that is incomplete or inexact.

    MP4 and AVI have such an index, so that a listing reads kilobytes of them and not the film. It holds times of decoding,
    which are those of showing where no frame refers to a later one, or where all are equally far apart.
    """
    entries = stream.index_entries
    if not stream.frames or len(entries) != stream.frames or any(entry.is_discard for entry in entries):
        return None
    # Entries behind the end of the file are those of a file that was cut short.
    stamps = array("q", [entry.timestamp for entry in entries if entry.pos + entry.size <= container.size])
    if stream.codec_context.has_b_frames:
        steps = {after - before for before, after in pairwise(stamps)}
        if steps and (max(steps) - min(steps)) * float(stream.time_base or 0) > _SLACK_S:
            return None
    return stamps


def _sampled(times_s: list[float], frames_per_second: float) -> Iterator[tuple[int, float]]:
    """Yield number and time of each sampled frame, numbered from 0 as MegaDetector and OpenCV do."""
    due_s = 0.0
    for number, seconds in enumerate(times_s):
        if seconds >= due_s - _SLACK_S:
            yield number, seconds
            due_s = (math.floor((seconds + _SLACK_S) * frames_per_second) + 1) / frames_per_second


def _announced_s(container: InputContainer, stream: VideoStream) -> float:
    """Return the announced length, 0 without one. Sound may be longer, so the length of the file counts only without sound."""
    if stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)
    clock = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", "").strip())  # Matroska's
    if clock:
        return sum(float(part) * unit_s for part, unit_s in zip(clock.groups(), (3600, 60, 1), strict=True))
    if container.duration and len(container.streams) == 1:
        return container.duration / 1e6  # FFmpeg counts in microseconds
    return 0.0


# -- metadata of the container -----------------------------------------------------------------------------------------

_CAMERA = {
    "com.apple.quicktime.make": "camera_make",
    "com.apple.quicktime.model": "camera_model",
    "make": "camera_make",
    "model": "camera_model",
}
# The first has the camera's own offset; the second is in UTC by the format's definition.
_DATES = ("com.apple.quicktime.creationdate", "creation_time", "date")
_PLACES = ("com.apple.quicktime.location.ISO6709", "location")
_NO_CLOCK = 1990  # clocks that were never set count from 1904 or 1970


def created_at(written: Mapping[str, str]) -> datetime | None:
    """Return the time at which the video begins, aware if the container states the offset."""
    moments = (moment_of(written.get(name)) for name in _DATES)
    return next((moment for moment in moments if moment is not None and moment.year >= _NO_CLOCK), None)


def _begins_at(path: Path, written: Mapping[str, str], clock: VideoClock) -> datetime | None:
    if clock == "file-date":  # of a camera's card: the camera's local time, which the computer takes for its own
        return datetime.fromtimestamp(path.stat().st_mtime).replace(microsecond=0)
    start = created_at(written)
    own_offset = created_at({name: written[name] for name in _DATES[:1] if name in written})
    return start.replace(tzinfo=None) if start is not None and clock == "local" and start != own_offset else start


def _later(start: datetime | None, seconds: float) -> datetime | None:
    try:
        return start + timedelta(milliseconds=round(seconds * 1000)) if start is not None else None
    except OverflowError:
        return start


def _position(written: Mapping[str, str]) -> tuple[float | None, float | None]:
    """Return degrees north and east of an ISO 6709 text ("+37.3318-122.0312+010.0/"), None and None without a fix."""
    for name in _PLACES:
        match = re.match(r"([+-]\d{1,2}(?:\.\d+)?)([+-]\d{1,3}(?:\.\d+)?)(?:[+-/]|$)", written.get(name, ""))
        if match:
            return position_of(match[1], match[2])
    return None, None
