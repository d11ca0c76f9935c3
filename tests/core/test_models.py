"""Finding a model: names, folders, files, and a hub that is reachable, unreachable, or only a cache."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bioclip_core.errors import ModelError, ModelUnavailable, UnknownModel
from bioclip_core.models import BIOCLIP_PREPROCESSING, ModelEntry, find_model

CONFIG = {"model_cfg": {"embed_dim": 4, "vision_cfg": {"image_size": 96}, "text_cfg": {}},
          "preprocess_cfg": {"interpolation": "bilinear", "resize_mode": "squash"}}  # fmt: skip
WEIGHTS = b"weights that nobody opens here"
REPOSITORY = "somebody/fieldmodel"
FIRST, SECOND = "a" * 40, "b" * 40


def model_folder(folder: Path, weights: str = "open_clip_model.safetensors") -> Path:
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps(CONFIG), "utf-8")
    (folder / weights).write_bytes(WEIGHTS)
    return folder


def test_a_folder_is_found_with_its_contract_and_the_sha256_of_its_weights(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    for name in (f"local-dir:{folder}", str(folder)):
        found = find_model(name, {})
        assert found.identity() == {
            "weights_sha256": hashlib.sha256(WEIGHTS).hexdigest(), "source": f"local-dir:{folder}", "revision": "",
        }  # fmt: skip
        assert (found.preprocessing.size, found.preprocessing.resize_mode) == (96, "squash")
        assert found.preprocessing.said_by["resize_mode"] == "folder"
        assert found.preprocessing.said_by["mean"] == "assumed"
        assert found.preprocessing.decode == "reduced"
        assert find_model(name, {}, exact=True).preprocessing.decode == "full"
        assert found.own_label_set is None


def test_a_label_set_in_the_models_folder_is_its_own(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / "label_set").mkdir()
    (folder / "label_set" / "label_set.json").write_text("{}", "utf-8")
    assert find_model(str(folder), {}).own_label_set == folder / "label_set"


def test_a_weight_file_with_its_config_beside_it_is_a_model(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / "epoch_3.safetensors").write_bytes(b"other weights")
    found = find_model(str(folder / "epoch_3.safetensors"), {})
    assert found.weights == folder / "epoch_3.safetensors"
    assert found.weights_sha256 == hashlib.sha256(b"other weights").hexdigest()


def test_a_bare_weight_file_needs_a_stated_architecture(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(WEIGHTS)
    with pytest.raises(ModelError, match=r"write ARCHITECTURE=.*ViT-B-16=weights.safetensors"):
        find_model(str(weights), {})
    found = find_model(f"ViT-B-16={weights}", {})
    assert (found.architecture, found.preprocessing.size) == ("ViT-B-16", 224)
    with pytest.raises(UnknownModel, match=r"open_clip knows no architecture 'ViT-Q-99'.*ViT-"):
        find_model(f"ViT-Q-99={weights}", {})


def test_a_folder_with_an_equals_sign_in_its_name_is_a_folder(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "lr=0.001" / "model")
    assert find_model(str(folder), {}).folder == folder
    assert find_model(str(folder / "open_clip_model.safetensors"), {}).folder == folder


def test_a_registered_name_pins_parts_of_the_contract_over_the_folder(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    weights = folder / "open_clip_model.safetensors"
    for source in (f"local-dir:{folder}", str(folder), str(weights), f"ViT-B-16={weights}"):
        entry = ModelEntry("field", source, preprocessing=BIOCLIP_PREPROCESSING)
        found = find_model("field", {"field": entry})
        assert (found.preprocessing.size, found.preprocessing.interpolation) == (224, "bilinear")
        assert set(found.preprocessing.said_by.values()) == {"registry"}
        assert found.entry is entry


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        UnknownModel, match="'bioclop' is not known: use one of alpha, beta, hf-hub:ORG/NAME, local-dir"
    ):
        find_model("bioclop", {"beta": ModelEntry("beta", "x"), "alpha": ModelEntry("alpha", "x")})
    with pytest.raises(
        UnknownModel, match="'timm:vit': image encoders of timm are measured by `evaluate --suite` alone"
    ):
        find_model("timm:vit", {})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / "open_clip_config.json").unlink(), "has no open_clip_config.json"),
        (lambda folder: (folder / "open_clip_config.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "open_clip_config.json").write_text("{}"), "has no model_cfg"),
        (lambda folder: (folder / "open_clip_model.safetensors").unlink(), "has no weights; expected one of"),
    ],
)
def test_a_folder_that_is_not_a_model_is_refused_with_the_missing_files(change: Any, says: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    change(folder)
    with pytest.raises(ModelError, match=says) as failure:
        find_model(f"local-dir:{folder}", {})
    assert str(folder) in str(failure.value)
    with pytest.raises(UnknownModel, match="does not exist"):
        find_model(f"local-dir:{folder / 'elsewhere'}", {})


# The hub's client reads its settings on import, so every case runs in its own process.

ASK = """
import json, sys, time
from bioclip_core.models import find_model
begun = time.monotonic()
try:
    found = find_model(sys.argv[1], {}, fetch=sys.argv[2] == "fetch")
    said = {"source": found.source, "revision": found.revision, "weights": str(found.weights), "sha256": found.weights_sha256}
except Exception as error:
    said = {"error": type(error).__name__, "text": str(error)}
said.update(seconds=time.monotonic() - begun, torch="torch" in sys.modules)
print(json.dumps(said))
"""
NOWHERE = "http://127.0.0.1:9"  # the discard port, without a listener


def ask(name: str, home: Path, *, endpoint: str = NOWHERE, offline: bool = False, fetch: bool = True) -> dict[str, Any]:
    """Return the reply of ``find_model`` in a process whose hub cache is ``home``."""
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    settings = {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "1" if offline else "0",
                "TQDM_POSITION": "-1",  # the hub's client then shows its progress without a terminal too
                "PYTHONPATH": os.pathsep.join(sys.path)}  # fmt: skip
    for name_ in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        kept.pop(name_, None)
    done = subprocess.run(
        [sys.executable, "-c", ASK, name, "fetch" if fetch else "no"],
        env={**kept, **settings}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    said: dict[str, Any] = json.loads(done.stdout)
    assert done.stderr == ""  # neither a progress bar nor a hint
    assert said["torch"] is False
    return said


def cached(home: Path, files: dict[str, bytes], commit: str = FIRST) -> Path:
    """Make a hub cache with the files of one commit, laid out as the hub's client does."""
    repository = home / "hub" / ("models--" + REPOSITORY.replace("/", "--"))
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    for name, content in files.items():
        (snapshot / name).write_bytes(content)
    return snapshot


WHOLE = {"open_clip_config.json": json.dumps(CONFIG).encode(), "open_clip_model.safetensors": WEIGHTS}


def test_a_hub_that_is_out_of_reach_is_one_line_soon(tmp_path: Path) -> None:
    said = ask(f"hf-hub:{REPOSITORY}", tmp_path)
    assert said["error"] == "ModelUnavailable"
    assert "could not be reached" in said["text"]
    assert REPOSITORY in said["text"]
    assert "\n" not in said["text"]
    assert said["seconds"] < 10


def test_offline_and_not_cached_says_so_and_how_to_fetch(tmp_path: Path) -> None:
    said = ask(f"hf-hub:{REPOSITORY}", tmp_path, offline=True)
    assert said["error"] == "ModelUnavailable"
    assert (
        f"HF_HUB_OFFLINE is set; fetch it once where there is network: bioclip-plugin models fetch hf-hub:{REPOSITORY}"
        in said["text"]
    )


@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_model_of_a_plugin_or_of_ours_is_fetched_under_the_name_that_was_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offline: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("bioclip_core.hub._hub_answers", lambda: False)
    entries = {"tiny": ModelEntry("tiny", f"hf-hub:{REPOSITORY}")}
    for name in ("tiny", f"hf-hub:{REPOSITORY}", f"hf-hub:{REPOSITORY}@main"):
        with pytest.raises(ModelUnavailable) as refused:
            find_model(name, entries)
        words = str(refused.value).replace(")", ";").replace(";", " ").split()
        assert words[words.index("fetch", words.index("models")) + 1] == name
        assert ("or use --model demo" in str(refused.value)) == (offline == "0")


def test_a_cached_model_is_found_without_network_under_its_commit(tmp_path: Path) -> None:
    snapshot = cached(tmp_path, WHOLE)
    for name in (f"hf-hub:{REPOSITORY}", f"hf-hub:{REPOSITORY}@{FIRST}"):
        said = ask(name, tmp_path, offline=True)
        assert said["weights"] == str(snapshot / "open_clip_model.safetensors")
        assert (said["revision"], said["sha256"]) == (FIRST, hashlib.sha256(WEIGHTS).hexdigest())
    # a cached file is used without a request to the network
    assert ask(f"hf-hub:{REPOSITORY}", tmp_path)["revision"] == FIRST
    assert ask(f"hf-hub:{REPOSITORY}@{SECOND}", tmp_path, offline=True)["error"] == "ModelUnavailable"


class Hub(BaseHTTPRequestHandler):
    """Server with the part of a model hub that its client needs to fetch one file."""

    commits: dict[str, dict[str, bytes]] = {}  # noqa: RUF012 - set once, by the test
    main = SECOND
    asked: list[str] = []  # noqa: RUF012

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        self.asked.append(self.path)
        repository, _, rest = self.path.lstrip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        commit = self.main if revision == "main" else revision
        body = self.commits.get(commit, {}).get(name)
        if repository != REPOSITORY or body is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound" if repository != REPOSITORY else "EntryNotFound")
            self.send_header("X-Error-Message", "not here")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        """Suppress the log."""


@pytest.fixture
def hub() -> Iterator[str]:
    newer = {**WHOLE, "open_clip_model.safetensors": b"newer weights"}
    Hub.commits, Hub.asked = {FIRST: WHOLE, SECOND: newer}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_model_is_fetched_once_and_then_found_in_the_cache(hub: str, tmp_path: Path) -> None:
    said = ask(f"hf-hub:{REPOSITORY}", tmp_path, endpoint=hub)
    assert (said.get("revision"), said.get("sha256")) == (SECOND, hashlib.sha256(b"newer weights").hexdigest()), said
    asked = len(Hub.asked)
    assert ask(f"hf-hub:{REPOSITORY}", tmp_path, endpoint=hub)["revision"] == SECOND
    assert len(Hub.asked) == asked


def test_weights_come_from_the_commit_that_the_cached_config_is_of(hub: str, tmp_path: Path) -> None:
    # the config is of the first commit; main has moved on since
    cached(tmp_path, {"open_clip_config.json": WHOLE["open_clip_config.json"]})
    said = ask(f"hf-hub:{REPOSITORY}", tmp_path, endpoint=hub)
    assert (said.get("revision"), said.get("sha256")) == (FIRST, hashlib.sha256(WEIGHTS).hexdigest()), said


def test_a_model_missing_on_the_hub_is_distinguished_from_an_unreachable_hub(hub: str, tmp_path: Path) -> None:
    said = ask("hf-hub:somebody/else", tmp_path, endpoint=hub)
    assert said["error"] == "ModelUnavailable"
    assert said["text"].startswith("the hub has no somebody/else")
    assert "\n" not in said["text"]
    assert "fetching is switched off" in ask(f"hf-hub:{REPOSITORY}", tmp_path, endpoint=hub, fetch=False)["text"]
