"""Reading of one item on a decoding thread: bytes, hash, camera metadata and crops, or the reason of its failure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.errors import BioclipError, ImageError, StoreError, UsageError
from bioclip_core.files.present import exists
from bioclip_core.findings import Findings
from bioclip_core.images.boxes import Box
from bioclip_core.images.crops import WHOLE
from bioclip_core.images.decoding import decode_regions, decoded_file, decoded_image, prepare, right_pixels
from bioclip_core.images.memory import decoding_budget, image_memory, take_memory
from bioclip_core.images.readers import content_key, has_smaller_levels
from bioclip_core.images.reasons import reasons
from bioclip_core.images.unexpected import unexpected
from bioclip_core.process.threads import GivenUp, WorkersClosed
from bioclip_plugin.contracts.containing import owner_of, reason_of
from bioclip_plugin.contracts.detector import Detection
from bioclip_plugin.fetching.schemes import refusal_of
from bioclip_plugin.items.answers import DETECT_STAGE, Failure
from bioclip_plugin.items.media import BOX_UNIT, MediaItem, Region, Unlisted, path_of
from bioclip_plugin.items.strange_times import StrangeTimes
from bioclip_plugin.items.time_zones import clock_doubt, in_zone
from bioclip_plugin.items.web import is_remote
from bioclip_plugin.running.detecting import Detecting
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.running.read_ahead import Ahead, ReadAhead
from bioclip_plugin.store.records import Content, Run, Stat

DecodedBox = tuple[float, float, float, float] | None


def decoded_box(region: Region | None) -> DecodedBox:
    """Return the box by which features are keyed, so that equal keys mean equal pixels; None for the whole image."""
    if region is None:
        return None
    x, y, w, h = (value / BOX_UNIT for value in region.box)
    return x, y, w, h


@dataclass(frozen=True, slots=True)
class Reading:
    """An item as it was read. Nothing of a task changes before its reader is done, so a late result can be dropped."""

    item: MediaItem
    """The item with the camera's metadata."""
    failure: Failure | None = None
    content_sha256: str | None = None
    content_size: int | None = None
    crops: Sequence[NDArray[np.uint8]] = ()
    """One per box."""
    found: tuple[Detection, ...] | None = None
    """The boxes of the detector, if it was to find them."""


class Reader:
    """Reads items, on any thread, for one engine and run."""

    def __init__(self, engine: Engine, run: Run | None, findings: Findings | None) -> None:
        self._engine = engine
        self.detecting: Detecting | None = None
        """The detector of the pipeline, while that is at work."""
        self.ahead = ReadAhead(bytes_of, self._size_of_file)
        """Bytes of the next items, on a slow disk."""
        decoding_budget()  # a wrong setting is an error here, and not of each item
        self._findings = findings
        self._strange = StrangeTimes(findings if findings is not None else Findings())
        self._time_zone: str | None = run.settings.get("time_zone") if run else None
        self._checks_clocks = run is None or not run.settings.get("deployments")  # otherwise when shifts are known

    def read(self, item: MediaItem, boxes: Sequence[DecodedBox] | None, ahead: Ahead | None = None) -> Reading:
        """Read bytes, hash, camera metadata and crops, once there is memory for them. A failure is the item's own.

        Args:
            item: the item.
            boxes: the boxes to crop; None asks the detector for them.
            ahead: the bytes of the item, if they are read ahead.
        """
        with image_memory():
            return self._read(item, boxes, ahead)

    def _read(self, item: MediaItem, boxes: Sequence[DecodedBox] | None, ahead: Ahead | None) -> Reading:
        from bioclip_plugin.items.metadata import with_metadata

        sha256, image = None, item.image
        try:
            image = right_pixels(item.image) if item.image is not None else self._opened(item)
            if image is not None:
                take_memory(4 * image.width * image.height)
                content = image.tobytes()
                sha256 = hashlib.sha256(f"{image.mode}{image.size}".encode() + content).hexdigest()
                sha256 = content_key(sha256, is_read_by_us(item))
                if item.image is None and (block := _exif_block(image)):
                    item = self._with_camera(with_metadata(item, block), item)
                pixels: Image.Image | bytes = image
            else:
                content = self.ahead.content(item, ahead)
                sha256 = hashlib.sha256(content).hexdigest()
                sha256 = content_key(sha256, is_read_by_us(item, content), has_smaller_levels(content, item.frame))
                item = self._with_camera(with_metadata(item, content), item)
                pixels = content
            with self.ahead.decoding():
                crops, found = self._crops(item, pixels, (sha256, item.frame), len(content), boxes)
        except (GivenUp, WorkersClosed, StoreError):
            raise
        except Exception as error:
            return Reading(item, _failure_of(error, item, image), sha256)
        return Reading(item, None, sha256, len(content), crops, found)

    def _crops(
        self,
        item: MediaItem,
        pixels: Image.Image | bytes,
        content: Content,
        size: int,
        boxes: Sequence[DecodedBox] | None,
    ) -> tuple[list[NDArray[np.uint8]], tuple[Detection, ...] | None]:
        """Return the crops, and the boxes of the detector if it is to find them; the image is decoded once, if at all."""
        preprocessing, detecting, found = self._engine.model.preprocessing, self.detecting, None
        if boxes is None:
            assert detecting is not None
            if (found := detecting.known(content)) is None:
                whole: list[Box] = [WHOLE]
                decoded = (
                    decoded_file(pixels, whole, preprocessing, frame=item.frame)
                    if isinstance(pixels, bytes)
                    else decoded_image(pixels, preprocessing)
                )
                upright = decoded.upright_pixels(detecting.settings.chosen.side)
                found = detecting.found_in(content, size, item.uri, upright)
                with reasons(b""):
                    return decoded.crops(_boxes_to_name(detecting, item, found), preprocessing), found
            boxes = _boxes_to_name(detecting, item, found)
        if isinstance(pixels, Image.Image):
            return prepare(pixels, boxes, preprocessing), found
        # An image without a region to name is read for its camera metadata, and not decoded.
        return decode_regions(pixels, boxes, preprocessing, frame=item.frame) if boxes else [], found

    def _size_of_file(self, item: MediaItem) -> int | None:
        """Return the bytes that are read of an item's file or part of one; None for one without, or that a plugin opens."""
        if item.is_in_memory or self._engine.opens(path_of_item(item).suffix.lower()):
            return None
        return item.span[1] if item.span is not None else path_of_item(item).stat().st_size

    def zoned(self, item: MediaItem) -> MediaItem:
        """Return the item with a time without an offset put into the zone of the run."""
        if self._time_zone is None or item.captured_at is None:
            return item
        moment = in_zone(item.captured_at, self._time_zone)
        if self._findings is not None and self._checks_clocks and (doubt := clock_doubt(moment)):
            self._findings.add(doubt, f"{item.uri}: {moment.replace(tzinfo=None).isoformat()}")
        return replace(item, captured_at=moment)

    def _with_camera(self, item: MediaItem, listed: MediaItem) -> MediaItem:
        """Return an item with its camera's time in the zone of the run, and count a time that cannot be right."""
        if listed.captured_at is None and item.captured_at is not None:
            self._strange.check(item.captured_at, "camera", lambda: item.uri)
        return self.zoned(item) if listed.captured_at is None else item

    def _opened(self, item: MediaItem) -> Image.Image | None:
        """Return the image of an item that a plugin opens: a frame of a video, a RAW file."""
        if item.data is not None or not self._engine.opens(path_of_item(item).suffix.lower()):
            return None
        try:
            image: Image.Image | None = self._engine.plugins.hook.open_media(item=item)
        except (ImageError, UsageError, GivenUp, WorkersClosed):
            raise
        except BioclipError as error:
            raise ImageError(str(error), stage="decode") from error
        except Exception as error:  # of our own readers: a failure of this file, not the end of the run
            raise unexpected(error, item.uri) from error
        return image


def _failure_of(error: Exception, item: MediaItem, image: Image.Image | None) -> Failure:
    """Return the failure for an error of an item.

    The caller must not keep the error in a variable: its traceback holds the caller's frame, and such a circle keeps the pixels of
    the image until the garbage collector runs.
    """
    is_blamed = isinstance(error, BioclipError) or owner_of(image) or owner_of(item.image)
    failure = error if is_blamed else unexpected(error, item.uri)
    if getattr(failure, "stage", "") == DETECT_STAGE:  # the image is not to blame
        return Failure(DETECT_STAGE, str(failure))
    return Failure(getattr(failure, "stage", "decode"), _reason(failure, image, item.image))


def _boxes_to_name(detecting: Detecting, item: MediaItem, found: Sequence[Detection]) -> list[DecodedBox]:
    regions = detecting.settings.with_boxes(item, found).regions
    return [decoded_box(region) for region in regions if region.classified]


def _reason(error: Exception, *images: Image.Image | None) -> str:
    """Return the reason of a failure, with the plugin that gave the image."""
    owner = next((owner for image in images if (owner := owner_of(image))), None)
    return str(error) if owner is None else f"{owner}: its image cannot be used: {reason_of(error)}"


def _exif_block(image: Image.Image) -> bytes:
    """Return the camera's bare EXIF block, which is read like a file, if the image still has it."""
    block = image.info.get("exif")
    return block.removeprefix(b"Exif\x00\x00") if isinstance(block, bytes) else b""


def stat_of(item: MediaItem | Unlisted) -> Stat | None:
    """Return size and modification time of the item's file; None without one."""
    if isinstance(item, Unlisted) or item.is_in_memory or is_remote(item):
        return None
    try:
        stat = path_of_item(item).stat()
    except (OSError, ValueError):
        return None
    return stat.st_size, stat.st_mtime_ns


def path_of_item(item: MediaItem) -> Path:
    """Return the file that holds the item's bytes."""
    return item.path if item.path is not None else path_of(item.uri)


def is_read_by_us(item: MediaItem, content: bytes | None = None) -> bool:
    """True if the item's pixels come from a reader of our own, since Pillow would misread them.

    Args:
        item: an item with a file or bytes.
        content: its bytes, if they were read.
    """
    from bioclip_core.images import readers

    if content is not None:
        return readers.is_read_by_us(content, item.frame)
    if item.image is not None or path_of_item(item).suffix.lower() not in readers.SUFFIXES:
        return False
    if item.data is not None:
        return readers.is_read_by_us(item.data, item.frame)
    return readers.is_file_read_by_us(path_of_item(item), item.frame)


def was_misread(item: MediaItem, content_sha256: str | None) -> bool:
    """True if the stored content of an item comes from a version that left the item's kind of file to Pillow."""
    from bioclip_core.images.readers import is_marked

    if content_sha256 is None or is_marked(content_sha256) or item.span is not None or is_remote(item):
        return False
    return is_read_by_us(item)


def bytes_of(item: MediaItem) -> bytes:
    """Return the item's bytes: its ``data``, its file, or its part of a file.

    Raises:
        ImageError: if they cannot be read.
    """
    from bioclip_core.images.decoding import read_bytes

    if item.data is not None:
        return item.data
    path = path_of_item(item)
    if item.path is None and "#" in item.uri and not exists(path):  # from a store, which keeps uris
        from bioclip_plugin.formats.webdataset.read import member

        found = member(item.uri)
        if found is not None and found.path is not None:
            return read_bytes(found.path, found.span)
    if not exists(path) and (refusal := refusal_of(item.uri)):
        raise ImageError(refusal, stage="read")
    return read_bytes(path, item.span)
