"""A model with its own encoder, such as a remote service, answers everywhere: command line, Session and hooks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet

from bioclip_core.device import Compute
from bioclip_plugin import ClassifyRequest, Session, create_plugin_manager, hookimpl
from bioclip_plugin.cli import run
from bioclip_plugin.plugin_api import Encoder, MediaItem, ModelEntry
from bioclip_plugin.testing import FakeEncoder


class RemoteEncoder(FakeEncoder):
    """Service that sees green in every image and counts its calls."""

    def encode_images(self, images_BHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        super().encode_images(images_BHWC)
        return np.array([[0, 1, 0]] * len(images_BHWC), dtype=np.float16)


class RemoteModel:
    def __init__(self) -> None:
        self.encoder = RemoteEncoder("remote")

    @hookimpl
    def register_models(self, register: Callable[[ModelEntry], None]) -> None:
        pinned = {"size": 8, "resize_mode": "squash"}
        register(
            ModelEntry("remote", "remote", "a service", preprocessing=pinned, open_encoder=self._open, dimension=3)
        )

    def _open(self, compute: Compute) -> Encoder:
        return self.encoder


LABELS = ("red fish", "green fish", "blue fish")


def test_a_model_with_its_own_encoder_serves_command_line_session_and_hooks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remote, manager = RemoteModel(), create_plugin_manager(installed=False)
    manager.register(remote)
    photo = tmp_path / "red.png"
    Image.new("RGB", (20, 10), (255, 0, 0)).save(photo)
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    asked: list[int] = []

    def command(*arguments: object) -> str:
        assert run([str(argument) for argument in arguments], manager=manager) == 0
        asked.append(remote.encoder.images_encoded)
        return capsys.readouterr().out

    options = ("--model", "remote", "--labels", tmp_path / "labels.txt", "--store", tmp_path / "r.db")
    line = json.loads(command("classify", photo, *options, "--json"))
    assert line["candidates"][0]["common_name"] == "green fish"
    command("embed", photo, "--model", "remote", "--output", tmp_path / "e.parquet")
    assert parquet.read_table(tmp_path / "e.parquet")["emb"].to_pylist() == [[0, 1, 0]]

    with Session(model="remote", labels=LABELS, plugins=manager) as session:
        best = session.classify(photo).best
        assert best is not None
        assert best.name == "green fish"
        (embedded,) = session.embed_stream([photo])
        assert embedded.features_RD is not None
        assert embedded.features_RD.tolist() == [[0, 1, 0]]
    asked.append(remote.encoder.images_encoded)

    items: Sequence[MediaItem | str] = [str(photo)]
    request = ClassifyRequest(model="remote", labels=LABELS)
    assert manager.hook.classify_images(items=items, request=request)[0].best.name == "green fish"
    assert manager.hook.embed_images(items=items, request=request)[0].tolist() == [[0, 1, 0]]
    asked.append(remote.encoder.images_encoded)
    assert asked == [1, 2, 4, 6]
    manager.close()
