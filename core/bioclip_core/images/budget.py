"""Limits of the work and the size of an image file, each taken from its header or structure before pixels are decoded.

A few kilobytes can announce hours of work: 300 scans of a large JPEG, a million text chunks, a number per pixel in plain text. Each
limit is several times what a camera, a scanner or a museum's server writes, and keeps a file within seconds of one core.
"""

from __future__ import annotations

from bioclip_core.errors import ImageError

MAX_FILE_BYTES = 2 * 1024**3
"""Limit of a file that is read into memory; 250 megapixels of uncompressed 16-bit RGB are 1.5 GB."""
MAX_DECODED_PIXELS = 256_000_000
"""Limit of the decoded pixels of one image: 1 GB as RGB. A TIFF of 250 megapixels passes, a PNG of 300 does not."""
MAX_LISTED_PIXELS = 1_000_000_000
"""Limit of the pixels of an image that is decoded at a fraction (JPEG, JPEG 2000), which costs seconds, not memory."""
BYTES_PER_PIXEL = 8
"""Limit of the uncompressed samples of a file that our own readers decode, per pixel of the limit: RGB of 16 bits has 6."""

MAX_SIDE = 1_000_000
"""Limit of width and height in pixels. Pillow keeps 8 bytes per row, so a single column of 255 million pixels takes 2 GB."""
MAX_PROFILE_BYTES = 16 << 20
"""Limit of a colour profile; the largest that printers use have 4 MB."""
MAX_METADATA_BYTES = 64 << 20
"""Limit of the values of a header that is read for its camera metadata: thousands may lie in one place of the file."""
MAX_FRAME_PIXELS = 2_000_000_000
"""Limit of the pixels of all frames on the way to a frame of an animation, which are decoded one after the other."""

MAX_JPEG_BLOCK_VISITS = 200_000_000
"""Limit of the 8×8 blocks of all scans. A progressive JPEG of 250 megapixels without subsampling has 56 million in 10 scans."""
JPEG_BLOCKS_PER_SCAN = 1_000
"""Blocks that cost as much as the beginning of a scan."""
MAX_JPEG_SEGMENTS = 20_000
"""Limit of the segments beside the scans, which Pillow reads one by one; 20,000 full ones are 1.3 GB."""
MAX_JPEG_METADATA_BYTES = 8 << 20
"""Limit of the segments of EXIF and of Photoshop, which Pillow appends to each other and searches in Python."""
MAX_JPEG_FILL = 1 << 20
"""Limit of the bytes between segments, which Pillow reads one by one."""

MAX_PNG_CHUNKS = 500_000
"""Limit of the chunks; 1.5 GB in the usual pieces of 8 kB are 190,000."""
MAX_PNG_BYTES = 800_000_000
"""Limit of the uncompressed samples of a PNG, whose filters cost 5 s per GB: 256 megapixels of RGB, 133 of 16-bit RGB."""

MAX_GIF_BLOCKS = 100_000
"""Limit of the data blocks of comments and other extensions before a frame."""
MAX_GIF_DATA_BLOCKS = 2_000_000
"""Limit of the data blocks of earlier frames."""
MAX_GIF_COMMENT_BYTES = 1 << 20
"""Limit of a comment, to which Pillow appends block by block."""

MAX_RLE_PIXELS = 32_000_000
"""Limit of a run-length encoded BMP, which Pillow decodes in Python: 0.06 µs per pixel."""
MAX_RLE_BYTES = 8 << 20
"""Limit of the file: 0.4 µs per byte."""
MAX_QOI_BYTES = 3 << 20
"""Limit of a QOI file, which Pillow decodes in Python: up to 1.2 µs per byte."""
MAX_QOI_PIXELS = 64_000_000
"""Limit of the pixels of a QOI file, of which one byte may be 62: measured, 7 bytes of memory and 12 ns each."""
MAX_WEBP_PIXELS = 100_000_000
"""Limit of the pixels of a WebP, which cannot be decoded at a fraction: measured, 16 bytes of memory per pixel with and without
alpha, 1.6 GB at the limit. It is below the 179 megapixels at which Pillow's own reader asks the host's limit."""
MAX_PSD_RESOURCES = 20_000
"""Limit of the image resources (paths, guides, thumbnails) of a Photoshop file."""

MAX_PLAIN_SAMPLES = 24_000_000
"""Limit of the numbers of a plain-text PGM or PPM: 8 megapixels in colour, 0.1 µs each."""

MAX_TIFF_PIECES = 250_000
"""Limit of the strips and tiles of a page; 256 megapixels in tiles of 64 × 64 and three planes have 190,000."""
MAX_TIFF_PAGES = 1_000
"""Limit of the pages of a file that are listed; further ones are counted. A scanned field book has hundreds."""
MAX_TIFF_VALUES = 200_000
"""Limit of the values of another tag that the pixels need; a palette of 16 bits has 196,608."""
MAX_COMPARED_PIXELS = 340_000_000
"""Limit of the pixels of the pages of a TIFF that are decoded to find copies of each other, up to 16 ns each; a pyramid of 250
megapixels has 333."""

MAX_JPEG2000_TILES = 65_535
MAX_JPEG2000_BLOCKS = 4_000_000
"""Limit of the code-blocks, of which OpenJPEG keeps records; 256 megapixels in the usual blocks of 64 × 64 have 250,000."""
MAX_JPEG2000_PACKETS = 8_000_000
"""Limit of the packets: layers × resolutions × components × precincts. 256 megapixels for a web server have up to 400,000."""


def over_budget(announced: str, limit: str) -> ImageError:
    """Return the error for a file that announces more than a limit.

    Args:
        announced: the announced amount: "its header announces 300 scans of 15,900 × 15,900 pixels".
        limit: the limit with its unit: "200,000,000 blocks".
    """
    return ImageError(f"{announced}, which is over the budget of {limit}")


def check_sides(width: int, height: int, announcer: str = "its header") -> None:
    """Refuse an image with a side that no photograph has.

    Raises:
        ImageError: if a side is over the limit.
    """
    if max(width, height) > MAX_SIDE:
        raise ImageError(
            f"{announcer} announces {width:,} × {height:,} pixels; images with sides of up to {MAX_SIDE:,} pixels are read"
        )


def check_profile(profile: object) -> None:
    """Refuse a colour profile that no device has.

    Raises:
        ImageError: if it is over the limit.
    """
    if isinstance(profile, bytes) and len(profile) > MAX_PROFILE_BYTES:
        raise over_budget(f"its colour profile has {len(profile):,} bytes", f"{MAX_PROFILE_BYTES:,} bytes")


def check_frame(width: int, height: int, frame: int) -> None:
    """Refuse a frame of an animation behind more frames than may be decoded.

    Raises:
        ImageError: if the frames up to this one have too many pixels.
    """
    if frame and (frame + 1) * width * height > MAX_FRAME_PIXELS:
        raise over_budget(
            f"frame {frame} is decoded after all earlier frames of {width:,} × {height:,} pixels",
            f"{MAX_FRAME_PIXELS / 1e6:,.0f} megapixels in all",
        )
