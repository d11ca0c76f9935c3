"""Splits that the names of published files and folders state."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

SPLIT_WORDS = {
    "train": "train", "training": "train", "train_small": "train_small", "val": "val", "valid": "val",
    "validation": "val", "test": "test", "testing": "test", "dev": "dev", "unseen": "unseen",
}  # fmt: skip
"""Words for splits in names of published files, and the words that they mean."""


def split_of(name: str) -> str:
    """Return the split that the name of a file states, by its folders or its beginning; empty if it states none.

    >>> split_of("224x224/train/shard-000000.tar"), split_of("val-000001.tar"), split_of("00000.tar")
    ('train', 'val', '')
    """
    path = PurePosixPath(name)
    beginning = re.match(r"[a-zA-Z_]+?(?=[-_.]?\d|$)", path.name.partition(".")[0])
    for word in [*(part.lower() for part in reversed(path.parts[:-1])), beginning[0].lower() if beginning else ""]:
        if word.rstrip("_") in SPLIT_WORDS:
            return SPLIT_WORDS[word.rstrip("_")]
    return ""
