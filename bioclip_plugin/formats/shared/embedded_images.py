"""Images that are in a table themselves: the bytes of a file, or bytes and path as Hugging Face datasets write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from bioclip_core.findings import Findings

DROPPED = "values of other columns are bytes, which are not kept"
_BYTES = (bytes, bytearray, memoryview)


class ImageCell(NamedTuple):
    """A cell that names an image or is one."""

    name: Any
    """The name of a file as the cell has it; None for an image in the table."""
    data: bytes | None = None
    fault: str = ""
    """Reason why the cell is neither."""


def image_cell(value: Any) -> ImageCell:
    """Return the meaning of a value in an image column."""
    if isinstance(value, _BYTES):
        return ImageCell(None, bytes(value)) if value else ImageCell(None, fault="it has no bytes")
    if isinstance(value, Mapping):
        data, path = value.get("bytes"), value.get("path")
        if isinstance(data, _BYTES) and data:
            return ImageCell(None, bytes(data))
        if isinstance(path, str) and path.strip():
            return ImageCell(path)
        return ImageCell(
            None, fault=f"it has the fields {', '.join(value) or 'of nothing'}, and needed are bytes or path"
        )
    if isinstance(value, (list, tuple)) and not all(part is None or isinstance(part, str) for part in value):
        kind = "images as bytes" if any(isinstance(part, (*_BYTES, Mapping)) for part in value) else "numbers"
        return ImageCell(
            None, fault=f"it is a list of {kind}: give each image a row of its own, as the bytes of a file or its name"
        )
    return ImageCell(value)


def without_bytes(cells: Mapping[str, Any], image: str, findings: Findings | None, example: str) -> Mapping[str, Any]:
    """Return the cells of a row without bytes in columns other than the image's, which are reported."""
    binary = [name for name, value in cells.items() if name != image and isinstance(value, _BYTES)]
    if not binary:
        return cells
    if findings is not None:
        findings.add(DROPPED, f"{example}: {binary[0]}", len(binary))
    return {name: value for name, value in cells.items() if name not in binary}
