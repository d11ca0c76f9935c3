"""Video files as items: which frames, at what moment, under which number; reads packets and decodes none."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioclip_core.cells import moment_of, position_of
from bioclip_core.errors import ImageError, UsageError
from bioclip_plugin.items.media import MediaItem, Unlisted

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# What trail cameras, phones and underwater rigs write.
SUFFIXES = frozenset(".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .wmv .asf .mts .m2ts .3gp .3g2 .flv .ogv".split())

# Containers that are read. Left out are those that name other files or addresses (playlists, concat lists): what a file
# says is never a reason to open another one.
_FORMATS = "mov,matroska,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,mxf,dv,h264,hevc,m4v,mjpeg"
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}

_SLACK_S = 0.002  # times in a container are rounded, in Matroska to a millisecond
_CUT_OFF_S = 0.5  # an end that comes this much before the announced one is a file cut short, not rounding


@dataclass(frozen=True, slots=True)
class _Frame:
    """One sampled frame."""

    number: int
    """From 0 in the order of presentation: as MegaDetector and OpenCV count."""
    seconds: float
    """Since the first frame."""


def is_video(path: Path) -> bool:
    """Whether the name says so: a listing opens no file to find out."""
    return path.suffix.lower() in SUFFIXES


def opened(path: Path) -> InputContainer:
    """A video file, open for reading.

    Raises:
        ImageError: if it cannot be opened, or PyAV is not installed.
    """
    try:
        import av
    except ImportError:
        raise ImageError(
            "this is a video, and PyAV, which reads videos, is not installed: pip install 'bioclip-plugin[video]'",
            stage="open",
        ) from None
    try:
        if path.stat().st_size == 0:
            raise ImageError("the file is empty (0 bytes)", stage="read")
        # An absolute path: "http:x.mp4" is a name on disk, and an address to FFmpeg.
        return av.open(str(path.absolute()), options=_OPTIONS, metadata_errors="replace")
    except av.error.EOFError:
        raise ImageError("the video has no frames: the file ends with its header", stage="open") from None
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise ImageError(f"the video cannot be opened: {_why(error)}", stage="open") from error


def video_stream(container: InputContainer) -> VideoStream:
    """The stream that is looked at.

    Raises:
        ImageError: if there is no moving picture.
    """
    from av.stream import Disposition

    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        held = "sound only" if container.streams.audio else "no pictures"
        raise ImageError(f"the file holds {held}, no video", stage="open")
    return max(streams, key=lambda stream: (stream.codec_context.width or 0) * (stream.codec_context.height or 0))


def frames_of(item: MediaItem, path: Path, frames_per_second: float) -> Iterator[MediaItem | Unlisted]:
    """An item for each sampled frame of a video, in order; what cannot be listed is said once, at its frame.

    Each frame's own time decides, since rates in headers are wrong for cameras that slow down in the dark: it is taken from the
    file's index, or where that does not say it the file is read once, its packets without decoding. A sample is the first
    frame at or after its time; where no frame is shown for a while there is none.

    Args:
        frames_per_second: samples a second of the video; more than it has gives every frame.

    Raises:
        UsageError: if the rate is no number above 0.
    """
    if not (math.isfinite(frames_per_second) and frames_per_second > 0):
        raise UsageError(f"frames per second {frames_per_second}: allowed are numbers above 0, such as 1 or 0.2")
    try:
        container = opened(path)
    except ImageError as error:
        yield Unlisted(item.uri, str(error), item.frame)
        return
    with container:
        try:
            stream = video_stream(container)
        except ImageError as error:
            yield Unlisted(item.uri, str(error), item.frame)
            return
        said = {**container.metadata, **stream.metadata}
        times_s, trouble = _times(container, stream)
        rate = float(stream.average_rate or 0)
        announced_s = _announced_s(container, stream)
    about = {"frame_rate": round(rate, 4)} if rate else {}
    start = item.captured_at or created_at(said)
    for frame in _sampled(times_s, frames_per_second):
        yield _item(item, frame, start, said, about)
    if not times_s:
        yield Unlisted(item.uri, "the video has no frames" + (f": {trouble}" if trouble else ""), item.frame)
    elif trouble or announced_s - (times_s[-1] + (1 / rate if rate else 0)) >= max(_CUT_OFF_S, 1 / frames_per_second):
        lost = f"of {announced_s:.1f} announced seconds" if announced_s > times_s[-1] else ""
        reason = f"the video is truncated: it ends after {len(times_s)} frames ({times_s[-1]:.1f} s) {lost}".rstrip()
        yield Unlisted(item.uri, reason + (f": {trouble}" if trouble else ""), len(times_s))


def _item(
    item: MediaItem, frame: _Frame, start: datetime | None, said: Mapping[str, str], about: Mapping[str, Any]
) -> MediaItem:
    latitude, longitude = _position(said)
    place = item.place
    if place.latitude is None:
        place = replace(place, latitude=latitude, longitude=longitude)
    camera = {ours: said[theirs] for theirs, ours in _CAMERA.items() if said.get(theirs)}
    return replace(
        item,
        frame=frame.number,
        captured_at=_later(start, frame.seconds),
        place=place,
        metadata={**camera, **about, "video_seconds": round(frame.seconds, 3), **item.metadata},
    )


# -- when each frame is shown ------------------------------------------------------------------------------------------


def _times(container: InputContainer, stream: VideoStream) -> tuple[list[float], str]:
    """The time of each frame in seconds since the first, and what ended the reading before the end of the file."""
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
            trouble = _why(error)
    unit_s = float(stream.time_base or 0)
    if untimed or not unit_s:  # as many files of MPEG-4 in AVI have it: frames follow each other at the stated rate
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        return [number / rate for number in range(untimed + len(stamps))], trouble
    ordered = sorted(stamps)  # packets come in the order of decoding
    return [(stamp - ordered[0]) * unit_s for stamp in ordered], trouble


def _indexed(container: InputContainer, stream: VideoStream) -> array[int] | None:
    """The frames' times out of the file's own index, where it is whole and says it exactly; else None.

    MP4 and AVI have such an index, so that a listing reads kilobytes of them and not the film. It holds times of decoding: these
    are those of showing where no frame refers to a later one, or where all are equally far apart.
    """
    entries = stream.index_entries
    if not stream.frames or len(entries) != stream.frames:
        return None
    stamps = array("q")
    for entry in entries:
        if entry.is_discard:
            return None
        if entry.pos + entry.size <= container.size:  # else the file was cut short
            stamps.append(entry.timestamp)
    if stream.codec_context.has_b_frames:
        steps = {after - before for before, after in pairwise(stamps)}
        if steps and (max(steps) - min(steps)) * float(stream.time_base or 0) > _SLACK_S:
            return None
    return stamps


def _sampled(times_s: list[float], frames_per_second: float) -> Iterator[_Frame]:
    due_s = 0.0
    for number, seconds in enumerate(times_s):
        if seconds >= due_s - _SLACK_S:
            yield _Frame(number, seconds)
            due_s = (math.floor((seconds + _SLACK_S) * frames_per_second) + 1) / frames_per_second


def _announced_s(container: InputContainer, stream: VideoStream) -> float:
    """How long the video says that it is; 0 where it does not. Sound may be longer, so a whole file's length counts only alone."""
    if stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)
    clock = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", "").strip())  # Matroska's
    if clock:
        hours, minutes, seconds = (float(part) for part in clock.groups())
        return hours * 3600 + minutes * 60 + seconds
    if container.duration and len(container.streams) == 1:
        return container.duration / 1e6  # FFmpeg counts in microseconds
    return 0.0


# -- what the container says of its making -----------------------------------------------------------------------------

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


def created_at(said: Mapping[str, str]) -> datetime | None:
    """When the container says that the video begins; aware where it says the offset."""
    for name in _DATES:
        moment = moment_of(said.get(name))
        if moment is not None and moment.year >= _NO_CLOCK:
            return moment
    return None


def _later(start: datetime | None, seconds: float) -> datetime | None:
    if start is None:
        return None
    try:
        return start + timedelta(milliseconds=round(seconds * 1000))
    except OverflowError:
        return start


def _position(said: Mapping[str, str]) -> tuple[float | None, float | None]:
    """Degrees north and east of an ISO 6709 text ("+37.3318-122.0312+010.0/"); none where there is no fix."""
    for name in _PLACES:
        match = re.match(r"([+-]\d{1,2}(?:\.\d+)?)([+-]\d{1,3}(?:\.\d+)?)(?:[+-/]|$)", said.get(name, ""))
        if match:
            return position_of(match[1], match[2])
    return None, None


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
