"""Single frames of videos as images: a few readers stay open and go forward, so that frames in order are decoded once."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from bioclip_core.errors import ImageError
from bioclip_core.files.moved import windows_hint
from bioclip_core.files.near_names import near_hint
from bioclip_core.process.forks import never_freed, renew_after_fork
from bioclip_plugin.opening.refusals import check_size, reason_of
from bioclip_plugin.opening.video import opened, video_stream

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_READERS = 4  # videos that stay open; each holds a decoder and its reference frames

# FFmpeg states a rotation counter-clockwise.
_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}

_Key = tuple[str, int, int]


class VideoFrames:
    """Frames by number for any number of threads, with at most a few videos open."""

    def __init__(self, readers: int = _READERS) -> None:
        self._most = readers
        self._lock = threading.Lock()
        self._readers: OrderedDict[_Key, _Reader] = OrderedDict()
        self._users: Counter[_Key] = Counter()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Leave the open videos to the parent: the threads of their decoders do not exist in a child."""
        self._lock = threading.Lock()
        never_freed(self._readers)
        self._readers, self._users = OrderedDict(), Counter()

    def frame(self, path: Path, number: int) -> Image.Image:
        """Return one frame, upright, as RGB.

        Raises:
            ImageError: if the video cannot be opened, or the frame does not exist or cannot be decoded.
        """
        with self._reader(path) as reader:
            return reader.frame(number)

    @contextmanager
    def _reader(self, path: Path) -> Iterator[_Reader]:
        """Give the open reader of a file. Above the limit, those used longest ago and idle now are closed."""
        try:
            stat = path.stat()
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                raise ImageError(
                    f"the file does not exist (any more){near_hint(path) or windows_hint(path)}", stage="read"
                ) from None
            raise ImageError(f"the file cannot be read: {error.strerror}", stage="read") from None
        key = (str(path), stat.st_size, stat.st_mtime_ns)  # a file that was replaced is another one
        with self._lock:
            reader = self._readers.pop(key, None) or _Reader(path)
            self._readers[key] = reader
            self._users[key] += 1
        try:
            yield reader
        finally:
            with self._lock:
                self._users[key] -= 1
                self._drop_idle(keep=self._most)

    def close(self) -> None:
        """Close every idle video; one in use is closed when its reader is done with it."""
        with self._lock:
            self._drop_idle(keep=0)

    def _drop_idle(self, keep: int) -> None:
        idle = [key for key in self._readers if not self._users[key]]
        for key in idle[: max(0, len(self._readers) - keep)]:
            self._readers.pop(key).close()
            del self._users[key]


class _Reader:
    """One video in decoding. One thread decodes at a time and keeps the frames that others wait for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Condition()
        self._decoding = False
        self._wanted: Counter[int] = Counter()
        self._kept: dict[int, Image.Image | ImageError] = {}
        self._container: InputContainer | None = None
        self._frames: Iterator[VideoFrame] = iter(())
        self._next = 0
        """Number of the frame that the decoder gives next."""
        self._trouble = ""
        self._end: ImageError | None = None
        """Reason why frames from ``_next`` on are missing."""

    def frame(self, number: int) -> Image.Image:
        """Return a frame; see :meth:`VideoFrames.frame`."""
        with self._turn:
            self._wanted[number] += 1
            while number not in self._kept and self._decoding:
                self._turn.wait()
            mine = number not in self._kept
            self._decoding = self._decoding or mine
        try:
            if mine:
                self._decode_to(number)
        finally:
            with self._turn:
                if mine:
                    self._decoding = False
                found = self._kept.get(number)
                self._wanted[number] -= 1
                if not self._wanted[number]:
                    del self._wanted[number]
                    self._kept.pop(number, None)
                self._turn.notify_all()
        if isinstance(found, Image.Image):
            return found
        raise found or ImageError(f"frame {number} of the video cannot be decoded")

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
            self._container, self._frames = None, iter(())

    def _decode_to(self, number: int) -> None:
        if self._container is None or number < self._next:  # a decoder only goes forward
            self.close()
            self._start()
        while self._next <= number and self._end is None:
            frame = next(self._frames, None)
            if frame is None:
                self._end = ImageError(_ended(self._next, self._trouble))
                break
            with self._turn:
                wanted = self._next in self._wanted
            if wanted:
                image = _image_of(frame)
                with self._turn:
                    self._kept[self._next] = image
                    self._turn.notify_all()
            self._next += 1
        if self._end is not None:
            with self._turn:
                for missing in [wanted for wanted in self._wanted if wanted >= self._next]:
                    reason = ImageError(f"there is no frame {missing}: {self._end}", stage=self._end.stage)
                    self._kept[missing] = reason if self._container is not None else self._end

    def _start(self) -> None:
        self._next, self._trouble, self._end = 0, "", None
        try:
            self._container = opened(self._path)
            stream = video_stream(self._container)
            check_size(stream.codec_context.width or 0, stream.codec_context.height or 0)
        except ImageError as error:
            self.close()
            self._end = error
            return
        stream.thread_type = "AUTO"  # several frames at once, where the codec allows it
        self._frames = self._decoded(self._container, stream)

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """Yield the frames in the order of presentation; packets that cannot be decoded are skipped."""
        import av

        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as error:  # the decoder may still hold frames
                self._trouble, packet = reason_of(error), None
            try:
                yield from packet.decode() if packet is not None else stream.decode(None)
            except av.error.FFmpegError as error:
                if packet is not None:  # at the end the decoder fails if it was emptied before
                    self._trouble = reason_of(error)
            if packet is None:
                return


def _image_of(frame: VideoFrame) -> Image.Image | ImageError:
    try:
        check_size(frame.width, frame.height, "a frame of the video")  # which may be another one than in its header
        image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]
    except ImageError as error:
        return error
    except Exception as error:  # the conversion of a damaged frame raises errors of many types
        return ImageError(f"the frame cannot be turned into a picture: {error}")
    turn = _TURNS.get(round(frame.rotation / 90) * 90 % 360)
    return image.transpose(turn) if turn is not None else image


def _ended(count: int, trouble: str) -> str:
    if not count:
        return "none of the video's frames can be decoded" + (f" ({trouble})" if trouble else "")
    return f"the video has {count} frames that can be decoded, counted from 0" + (
        f", and is damaged ({trouble})" if trouble else ""
    )
