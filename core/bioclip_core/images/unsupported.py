"""Names of kinds of files that no reader here opens, so that a sound one is not called damaged."""

from __future__ import annotations

import struct
from contextlib import suppress

_SIGNATURES = {
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cJXL \r\n\x87\n": "JPEG XL",
    b"II\xbc": "JPEG XR",
    b"8BPS\x00\x02": "PSB (large Photoshop)",
    b"v/1\x01": "OpenEXR",
    b"%PDF-": "PDF",
    b"P7\n": "PAM",
    b"PF\n": "colour PFM",
    b"SIMPLE  =": "FITS",
    b"AT&TFORM": "DjVu",
    b"gimp xcf": "GIMP's XCF",
    b"\x89HDF\r\n": "HDF5",
    b"FUJIFILMCCD-RAW": "camera RAW",
}
_PSD_MODES = {0: "bitmap", 1: "grey", 2: "palette", 3: "RGB", 4: "CMYK", 7: "multichannel", 8: "duotone", 9: "Lab"}
_BMP_CODES = {4: "JPEG", 5: "PNG", 6: "masked", 11: "CMYK", 12: "CMYK", 13: "CMYK"}


def unsupported_kind(data: bytes) -> str:
    """Return what a file is if Pillow reads nothing of its kind, for a message; nothing for other files.

    Args:
        data: the bytes of a file that Pillow could not open.
    """
    for signature, name in _SIGNATURES.items():
        if data.startswith(signature):
            return name
    if data[128:132] == b"DICM":
        return "DICOM"
    with suppress(struct.error, IndexError):  # of a file that ends too early
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        if data.startswith(b"8BPS"):
            bits, mode = struct.unpack_from(">HH", data, 22)
            return f"{bits}-bit {_PSD_MODES.get(mode, f'mode {mode}')} PSD" if bits in (16, 32) else ""
        if data.startswith(b"BM"):
            bits, code = struct.unpack_from("<HI", data, 28)
            return (
                f"{bits}-bit BMP" if bits == 64 else f"BMP with {_BMP_CODES[code]} pixels" if code in _BMP_CODES else ""
            )
    return ""


def _jpeg(data: bytes) -> str:
    """Return the kind of a JPEG that is not of 8 bits and of the baseline, extended or progressive process."""
    at = 2
    while data[at : at + 1] == b"\xff":
        marker = data[at + 1]
        (size,) = struct.unpack_from(">H", data, at + 2)
        if marker == 0xF7:
            return "JPEG-LS"
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits = data[at + 4] if len(data) > at + 4 else 8
            process = {3: "lossless ", 5: "hierarchical ", 6: "hierarchical ", 7: "hierarchical "}.get(marker & 7, "")
            return f"{bits}-bit {process}JPEG" if bits != 8 or process else ""
        at += 2 + size
    return ""
