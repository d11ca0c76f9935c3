"""Names of models for readers: what a model is, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any


def short_name(name: str) -> str:
    """Return a model's name without its folder: "my_model" of "local-dir:/data/my_model/"."""
    if name.startswith("hf-hub:"):
        return name.removeprefix("hf-hub:")
    path = name.removeprefix("local-dir:").replace("\\", "/").rstrip("/")
    return PurePosixPath(path).name or name


def described(name: str, trained: Mapping[str, Any] | None) -> str:
    """Return a model's name and what it is: "my_model (fine-tuned from bioclip-2)".

    Args:
        name: the model as it was asked for.
        trained: start and method of a model that ``train`` made; None or empty for others.
    """
    if not trained or not trained.get("start"):
        return short_name(name)
    start = str(trained["start"])
    if start.startswith("new:"):
        return f"{short_name(name)} (trained from nothing)"
    method = " with LoRA" if trained.get("method") == "lora" else ""
    return f"{short_name(name)} (fine-tuned from {short_name(start)}{method})"
