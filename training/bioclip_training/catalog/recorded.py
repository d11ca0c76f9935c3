"""Recorded hashes: the sha256 that a catalog or an index of shards has of each image's bytes, compared whenever they are read."""

from __future__ import annotations

import hashlib
import re

from bioclip_core.errors import ImageError

VERIFY = "verify"
"""Stage of an :class:`ImageError` for bytes that are not the recorded ones."""

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_POINTER = b"version https://git-lfs"
_SHOWN = 12  # characters of a hash in a message


def is_hash(recorded: str | None) -> bool:
    """Return True for a sha256 in hexadecimal; anything else in its place is a missing record."""
    return bool(recorded) and _SHA256.fullmatch(recorded or "") is not None


def verified(data: bytes, recorded: str | None, *, since: str = "when the catalog was built") -> bytes:
    """Return the bytes of an image if they are the recorded ones, or if none are recorded.

    Args:
        data: the bytes.
        recorded: their sha256; another text than a hash is no record.
        since: moment of the record, for the message.

    Raises:
        ImageError: with stage ``verify``, if they are others.
    """
    if recorded and is_hash(recorded) and (found := hashlib.sha256(data).hexdigest()) != recorded.lower():
        pointer = "; it is a pointer of Git LFS and not the image: git lfs pull" if data.startswith(_POINTER) else ""
        raise ImageError(
            f"it has other bytes than {since}: sha256 {found[:_SHOWN]}…, recorded {recorded[:_SHOWN].lower()}…{pointer}",
            stage=VERIFY,
        )
    return data
