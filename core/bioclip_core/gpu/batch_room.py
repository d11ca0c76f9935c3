"""The number of images that the free memory of a device suffices for, measured with a small batch."""

from __future__ import annotations

from collections.abc import Callable

from bioclip_core.gpu.double_buffers import PAIRS
from bioclip_core.gpu.streams import Streams
from bioclip_core.process.memory_errors import is_out_of_memory

MOST = 256
"""Largest size that is chosen: a ViT-B/16 multiplies 50,000 rows then, and more images only cost memory of the machine."""
_PROBED = 8
_SHARE = 0.5
"""Part of the free memory that is used: the allocator cuts it into pieces, a graph has memory of its own, and others want some."""


def images_that_fit(streams: Streams, encode: Callable[[int], object], image_bytes: int) -> int:
    """Return a power of two, so that it is the same on most runs; 1 if even the probe did not fit, which the run will say.

    Args:
        streams: the device.
        encode: encodes a number of images, and waits for them.
        image_bytes: the size of an image's pixels.
    """
    for count in (_PROBED, 1):
        try:
            encode(count)  # what libraries take for themselves the first time they keep
            peak_bytes = streams.peak_bytes(lambda count=count: encode(count))  # type: ignore[misc]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            continue
        per_image = peak_bytes // count + (PAIRS + 1) * image_bytes  # the buffers, and that of a graph
        fitting = min(MOST, int(_SHARE * streams.free_bytes()) // max(per_image, 1))
        return 1 << max(fitting.bit_length() - 1, 0)
    return 1
