"""Reasons why an image cannot be read, in place of the errors of decoders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, UnidentifiedImageError

from bioclip_core.errors import BioclipError, ImageError
from bioclip_core.images.unexpected import NO_MEMORY, log
from bioclip_core.images.unsupported import unsupported_kind
from bioclip_core.process.quiet import quiet


@contextmanager
def reasons(data: bytes) -> Iterator[None]:
    """Turn any exception of a decoder into an ImageError with a readable reason; decoders report nothing else meanwhile."""
    try:
        with quiet(), np.errstate(all="ignore"):
            yield
    except BioclipError:
        raise
    except UnidentifiedImageError:
        if kind := _kind(data):
            raise ImageError(f"not supported: {kind}", stage="open") from None
        start = data[:16]
        is_text = start.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in start)
        shown = f'the text "{" ".join(start.decode().split())}"' if is_text else f"the bytes {start[:8].hex(' ')}"
        raise ImageError(f"not an image that can be read (starts with {shown})") from None
    except MemoryError as error:
        raise ImageError(NO_MEMORY) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"it is larger than this kind of file may be: {error}") from error
    except Exception as error:  # damaged files make Pillow's readers raise nearly anything
        if kind := _kind(data):
            raise ImageError(f"not supported: {kind}", stage="open") from error
        log.debug("an image cannot be decoded", exc_info=error)
        text = str(error).strip() or type(error).__name__
        if isinstance(error, EOFError) or "truncated" in text.lower() or "eof" in text.lower().split():
            raise ImageError(f"the file is truncated: its data end before the image does ({text})") from error
        raise ImageError(f"the file is damaged: {text}") from error


def _kind(data: bytes) -> str:
    """Return the kind of a file for a message; a fault in finding it must not replace the reason."""
    try:
        return unsupported_kind(data)
    except Exception:
        log.debug("the kind of a file cannot be found", exc_info=True)
        return ""
