"""Photos, a model that can end its process, and the rows of a store, for runs in shards."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from PIL import Image

from bioclip_plugin import cli
from bioclip_plugin.engines.folder import WorkFolder
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.plugin_api import BioclipPluginManager
from bioclip_plugin.store import Store

SHARDS = 5
"""Images per shard."""
REQUEST = ClassifyRequest(model="mortal", labels="fish.txt")
"""The request of the commands."""

PLUGIN = '''
import os
from pathlib import Path

from bioclip_core.models import ModelEntry
from bioclip_plugin import hookimpl
from bioclip_plugin.testing import FakeEncoder


class Mortal(FakeEncoder):
    """Ends its process at a black image, as often as a file says."""

    def encode_images(self, images_BHWC):
        lives = Path(os.environ.get("BIOCLIP_TEST_DEATHS", "none"))
        if lives.exists() and (images_BHWC.reshape(len(images_BHWC), -1).max(axis=1) == 0).any():
            left = int(lives.read_text() or 0)
            if left > 0:
                lives.write_text(str(left - 1))
                os._exit(9)
        return super().encode_images(images_BHWC)


class Plugin:
    encoder = Mortal("mortal", logit_scale=10.0)

    @hookimpl
    def register_models(self, register):
        pinned = {"size": 8, "resize_mode": "squash"}
        register(
            ModelEntry("mortal", "mortal", "colours", preprocessing=pinned, open_encoder=lambda _: self.encoder, dimension=3)
        )


plugin = Plugin()
'''
"""A plugin that actors of Ray import, since they do not have the objects of the tests."""


def install_plugin(folder: Path) -> None:
    """Make an importable plugin with its entry point in a folder."""
    (folder / "mortal_model.py").write_text(PLUGIN, "utf-8")
    about = folder / "mortal_model-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mortal-model\nVersion: 1.0\n", "utf-8")
    (about / "entry_points.txt").write_text("[bioclip]\nmortal = mortal_model:plugin\n", "utf-8")


def make_photos(folder: Path) -> None:
    """Make 17 photos: colours, equal contents, a black one, a camera's time, a corrupt JPEG and a file that is none."""
    folder.mkdir()
    for number in range(13):
        Image.new("RGB", (16, 16), (20 * number, 255 - 15 * number, 40)).save(folder / f"{number:02}.png")
    Image.new("RGB", (16, 16), (0, 255, 40)).save(folder / "equal.png")
    Image.new("RGB", (16, 16)).save(folder / "black.png")
    exif = Image.Exif()
    exif[0x0132] = exif[0x9003] = "2021:05:06 07:08:09"
    Image.new("RGB", (64, 64), (200, 30, 30)).save(folder / "timed.jpg", exif=exif)
    whole = (folder / "timed.jpg").read_bytes()
    (folder / "corrupt.jpg").write_bytes(whole[: len(whole) * 2 // 3])


def run_command(pm: BioclipPluginManager, *arguments: str) -> tuple[int, str]:
    """Run a command line in this process; return its exit code and output."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = cli.run(arguments, pm)
    return code, said.getvalue()


def shards_of(store: str) -> list[str]:
    """Return the ids of the shards of a store's run."""
    return [shard.id for shard in WorkFolder(Path(f"work-{store}")).shards()]


def rows_of(store: str) -> list[Any]:
    """Return everything that a store's only run has, in listing order, without numbers and times of the program."""
    with Store.open(store, create=False) as opened:
        (run,) = opened.runs()
        verification = opened.verify(run)
        assert verification.complete, verification.problems
        contents = [
            (
                item.item,
                item.status,
                item.failure,
                [(one.region, one.by_rank, one.flags, one.decision) for one in item.regions],
            )
            for item in opened.items_of(run)
        ]
        features = {key: vector.tolist() for key, vector in opened.features(run, _keys(opened)).items()}
        return [contents, sorted(features.items()), opened.summary(run), run.status]


def _keys(store: Store) -> list[Any]:
    import sqlite3

    path = store.shown_address.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        query = "SELECT sha256, frame, x, y, w, h FROM bioclip_features f JOIN bioclip_contents c ON f.content = c.id"
        return [(row[0], row[1], tuple(row[2:])) for row in connection.execute(query)]
