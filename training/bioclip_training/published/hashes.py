"""Hashes of images that collections publish: columns of records, without texts that are not hashes."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from bioclip_core.findings import Findings

DIGITS: Final = {"md5": 32, "sha256": 64}
"""Hexadecimal digits of each hash."""


def hashes_in(column: pa.Array, kind: str, findings: Findings) -> pa.Array:
    """Return a column of hashes in small letters; other texts are empty and reported.

    Args:
        column: texts without nulls.
        kind: ``md5`` or ``sha256``.
        findings: for texts that are not such a hash.
    """
    texts = pc.ascii_lower(pc.utf8_trim_whitespace(column))
    is_hash = pc.match_substring_regex(texts, f"^[0-9a-f]{{{DIGITS[kind]}}}$")
    is_other = pc.and_not(pc.not_equal(texts, ""), is_hash)
    if count := int(pc.sum(is_other).as_py() or 0):
        first = column[pc.index(is_other, True).as_py()].as_py()
        findings.add(f"hashes are not of the kind {kind} and are not used", repr(first), count)
    return pc.if_else(is_hash, texts, "")


def hash_of(text: str, kind: str, where: str, findings: Findings) -> str:
    """Return one hash in small letters; empty for another text, which is reported with its place."""
    plain = text.strip().lower()
    if plain and (len(plain) != DIGITS[kind] or plain.strip("0123456789abcdef")):
        findings.add(f"hashes are not of the kind {kind} and are not used", f"{where}: {text!r}")
        return ""
    return plain
