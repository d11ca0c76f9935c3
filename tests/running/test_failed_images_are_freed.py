"""The pixels of an image that fails are free at once, not when the garbage collector runs."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from bioclip_core.errors import ImageError
from bioclip_plugin import Session, create_plugin_manager
from bioclip_plugin.testing import FakeModel


@pytest.mark.parametrize("error", [ImageError("the file is damaged"), ZeroDivisionError("a fault of ours")])
def test_what_the_frames_of_the_error_held_is_free(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pixels:
        pass

    kept: list[weakref.ref[Pixels]] = []

    def decoding(*_args: Any, **_options: Any) -> None:
        pixels = Pixels()
        kept.append(weakref.ref(pixels))
        raise type(error)(str(error))

    monkeypatch.setattr("bioclip_plugin.running.reading.decode_regions", decoding)
    (tmp_path / "a.png").write_bytes(b"an image")
    plugins = create_plugin_manager(installed=False)
    plugins.register(FakeModel())
    with Session(model="fake", labels=("a red fish", "a blue fish"), plugins=plugins) as session:
        gc.disable()
        try:
            answer = session.classify(tmp_path / "a.png")
            assert answer.failure is not None
            assert str(error) in answer.failure.reason or type(error).__name__ in answer.failure.reason
            assert [pixels() for pixels in kept] == [None]
        finally:
            gc.enable()
