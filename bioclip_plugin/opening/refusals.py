"""Reasons for which a file is not opened, whatever its format."""

from __future__ import annotations

from bioclip_core.errors import ImageError
from bioclip_core.images.budget import MAX_DECODED_PIXELS, check_sides
from bioclip_core.images.memory import take_memory


def check_size(width: int, height: int, announcer: str = "its header", *, pixel_bytes: int = 0) -> None:
    """Refuse an image that would need too much memory, or wait until there is room for it.

    Args:
        width: in pixels.
        height: in pixels.
        announcer: beginning of the message.
        pixel_bytes: memory per pixel, of which the image takes its share here.

    Raises:
        ImageError: if it has more pixels than the budget, or a side that no photograph has.
    """
    check_sides(width, height, announcer)
    if width * height > MAX_DECODED_PIXELS:
        raise ImageError(
            f"{announcer} announces {width:,} × {height:,} pixels, over the budget of "
            f"{MAX_DECODED_PIXELS / 1e6:,.0f} megapixels"
        )
    take_memory(pixel_bytes * width * height)


def not_installed(kind: str, library: str, extra: str) -> ImageError:
    """Return the error for a kind of file whose library is not installed."""
    return ImageError(
        f"this is a {kind}, and {library}, which reads them, is not installed: pip install 'bioclip-plugin[{extra}]'",
        stage="open",
    )


def reason_of(error: Exception) -> str:
    """Return the text of a library's error, without its number and address; its type where the text is empty."""
    return str(getattr(error, "strerror", None) or error).strip() or type(error).__name__
