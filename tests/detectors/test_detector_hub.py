"""Checkpoints fetched from folders as the hubs' clients keep them, and from addresses."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from checkpoints import checkpoint_bytes, picture, sha256
from command_samples import Bioclip

from bioclip_core.errors import BioclipError, ModelError, ModelUnavailable, UnsafeWeights, UsageError
from bioclip_plugin.detectors.hub import fetch_from, fetched_from, folder_of
from bioclip_plugin.detectors.speciesnet import SpeciesNetDetector

KAGGLE = "kaggle:google/speciesnet/pyTorch/v4.0.3a/1"
HUGGING_FACE = "hf:org/speciesnet"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
DATA, OTHER = b"PK\x03\x04" + b"weights " * 500, b"PK\x03\x04" + b"other weights"
"""Contents that are fetched and never opened."""


def info(detector: str) -> str:
    """Return an ``info.json`` as models are published with it."""
    others = {"classifier": "c.pt", "classifier_labels": "l.txt", "taxonomy": "t.txt", "geofence": "g.json"}
    return json.dumps({"version": "4.0.3a", "type": "always_crop", "detector": detector, **others})


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Make Kaggle's folder of the default model, complete, with an ``info.json`` that names this detector."""
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))

    def make(detector: str) -> Path:
        folder = tmp_path / "kagglehub" / "models" / "google" / "speciesnet" / "pyTorch" / "v4.0.3a" / "1"
        folder.mkdir(parents=True, exist_ok=True)
        folder.with_name("1.complete").touch()
        (folder / "info.json").write_text(info(detector))
        return folder

    return make


@pytest.fixture
def hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hugging Face client's folder of a repository with a detector."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--org--speciesnet"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    (snapshot / "info.json").write_text(info("md_v5a.0.1.pt"))
    (snapshot / "md_v5a.0.1.pt").write_bytes(DATA)
    return snapshot


class Answers(BaseHTTPRequestHandler):
    """Gives what ``answers`` holds for a path: a status, headers and a body."""

    answers: dict[str, tuple[int, dict[str, str], bytes]]

    def do_GET(self) -> None:
        status, headers, body = self.answers.get(self.path, (404, {}, b"<html>nothing</html>"))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, dict[str, tuple[int, dict[str, str], bytes]]]]:
    """Address of a server with a certificate that clients accept, and its answers."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("NO_PROXY", "*")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    class Handler(Answers):
        answers: dict[str, tuple[int, dict[str, str], bytes]] = {}  # noqa: RUF012

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.socket = context.wrap_socket(listening.socket, server_side=True)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listening.server_port}", Handler.answers
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def test_the_default_model_is_fetched_from_kaggles_folder_and_used_by_name(
    kaggle: Callable[[str], Path], bioclip: Bioclip
) -> None:
    (kaggle("md_v5a.0.1.pt") / "md_v5a.0.1.pt").write_bytes(checkpoint_bytes())
    before = bioclip("models", "info", "speciesnet").out
    assert "Not ready: detector speciesnet: the checkpoint of " + KAGGLE in before
    assert "bioclip-plugin models fetch speciesnet" in before
    fetched = bioclip("models", "fetch", "speciesnet")
    assert fetched.code == 0
    assert sha256(checkpoint_bytes()) in fetched.out
    assert "a pickle can run any code" in " ".join(fetched.out.split())
    assert "GPL-3.0" in fetched.out
    detector = SpeciesNetDetector()
    assert detector.identity()["weights_sha256"] == sha256(checkpoint_bytes())
    assert detector.version == "md_v5a.0.1"
    assert detector.detect([picture(60, 80)], "cpu")[0]
    after = bioclip("models", "info", "speciesnet").out
    assert sha256(checkpoint_bytes()) in after
    assert "speciesnet\there\tmd_v5a.0.1\t" in bioclip("models", "list").out


def test_the_record_lies_beside_the_checkpoint_in_our_cache(hugging_face: Path, cache: Path) -> None:
    made = fetch_from(HUGGING_FACE)
    record = json.loads((made.path.parent / "fetched.json").read_text())
    assert cache in made.path.parents
    assert {key: record[key] for key in ("file", "sha256", "bytes", "source", "revision")} == {
        "file": "md_v5a.0.1.pt", "sha256": sha256(DATA), "bytes": len(DATA), "source": HUGGING_FACE, "revision": COMMIT,
    }  # fmt: skip
    assert SpeciesNetDetector(HUGGING_FACE).identity()["weights_sha256"] == sha256(DATA)
    with pytest.raises(ModelUnavailable, match=r"models fetch speciesnet$"):
        SpeciesNetDetector().identity()


def test_a_fetched_checkpoint_needs_no_hub_any_more(hugging_face: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fetch_from(HUGGING_FACE)
    for file in hugging_face.iterdir():
        file.unlink()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fetch_from(HUGGING_FACE) == made
    assert SpeciesNetDetector(HUGGING_FACE).identity()["weights_sha256"] == made.sha256


def test_a_fetched_checkpoint_that_is_replaced_is_refused_even_if_the_other_one_is_confirmed(
    hugging_face: Path, bioclip: Bioclip
) -> None:
    made, other = fetch_from(HUGGING_FACE), OTHER
    made.path.write_bytes(other)
    bioclip("models", "trust", str(made.path), "--sha256", sha256(other))
    with pytest.raises(
        UnsafeWeights, match=rf"has the sha256 {sha256(other)}, but {made.sha256} was recorded"
    ) as refused:
        SpeciesNetDetector(HUGGING_FACE).identity()
    assert "\n" not in str(refused.value)
    assert fetch_from(HUGGING_FACE).sha256 == made.sha256, "fetching again mends it"
    assert SpeciesNetDetector(HUGGING_FACE).identity()["weights_sha256"] == made.sha256


def test_another_file_on_the_hub_does_not_replace_the_recorded_one_in_silence(hugging_face: Path) -> None:
    made = fetch_from(HUGGING_FACE)
    made.path.unlink()
    (hugging_face / "md_v5a.0.1.pt").write_bytes(OTHER)
    with pytest.raises(
        ModelError, match=rf"but {made.sha256} was recorded .*remove the folder {folder_of(HUGGING_FACE)}"
    ):
        fetch_from(HUGGING_FACE)
    assert not made.path.exists()
    assert fetched_from(HUGGING_FACE) == made


def test_a_detector_at_an_address_is_fetched_from_there(
    kaggle: Callable[[str], Path], server: tuple[str, dict[str, tuple[int, dict[str, str], bytes]]]
) -> None:
    """The published models name MegaDetector's release on the web."""
    address, answers = server
    answers["/v5.0/md_v5a.0.0.pt?x=1"] = (302, {"Location": "/elsewhere"}, b"")
    answers["/elsewhere"] = (200, {}, DATA)
    kaggle(f"{address}/v5.0/md_v5a.0.0.pt?x=1")
    made = fetch_from(KAGGLE)
    assert (made.file, made.sha256, made.bytes) == ("md_v5a.0.0.pt", sha256(DATA), len(DATA))
    assert made.path.read_bytes() == DATA


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, {}, b"<!DOCTYPE html><title>Sign in</title>"), "is not a checkpoint: it begins with b'<!DOCTYPE html"),
        ((200, {}, b""), "is not a checkpoint: it is empty"),
        ((404, {}, b"no"), "404"),
        ((200, {"Content-Length": str(len(DATA) + 5)}, DATA), "could not be fetched"),
        ((302, {"Location": "http://127.0.0.1:9/md.pt"}, b""), "could not be fetched"),
    ],
)
def test_what_is_not_a_whole_checkpoint_is_not_kept(
    kaggle: Callable[[str], Path],
    server: tuple[str, dict[str, tuple[int, dict[str, str], bytes]]],
    answer: tuple[int, dict[str, str], bytes],
    reason: str,
    cache: Path,
) -> None:
    address, answers = server
    answers["/md.pt"] = answer
    kaggle(f"{address}/md.pt")
    with pytest.raises(ModelUnavailable, match=reason) as refused:
        fetch_from(KAGGLE)
    assert "\n" not in str(refused.value)
    assert [file for file in cache.rglob("*") if file.is_file()] == []


def test_an_address_without_tls_or_with_a_wrong_certificate_is_refused(
    kaggle: Callable[[str], Path],
    server: tuple[str, dict[str, tuple[int, dict[str, str], bytes]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, answers = server
    answers["/md.pt"] = (200, {}, DATA)
    kaggle(address.replace("https:", "http:") + "/md.pt")
    with pytest.raises(ModelError, match="is not https: anybody on the way could replace"):
        fetch_from(KAGGLE)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    kaggle(f"{address}/md.pt")
    with pytest.raises(ModelUnavailable, match="could not be fetched"):
        fetch_from(KAGGLE)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{}", "detector"),
        ('{"detector": 5}', "detector"),
        ("not json", "info.json"),
        ('{"detector": "https://127.0.0.1/"}', "which is not a file"),
        ('{"detector": "https://[::1/md.pt"}', "which is not a file"),
        ('{"detector": "../../../secret.pt"}', "secret.pt|not on this machine"),
    ],
)
def test_a_damaged_description_of_a_model_is_one_line(
    kaggle: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, content: str, reason: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (kaggle("md.pt") / "info.json").write_text(content)
    with pytest.raises(ModelError, match=reason) as refused:
        fetch_from(KAGGLE)
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("kaggle")
def test_offline_each_hub_is_one_line_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bioclip: Bioclip
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    refused = bioclip("models", "fetch", "speciesnet", f"speciesnet:{HUGGING_FACE}")
    assert refused.code == 1
    lines = refused.err.splitlines()
    assert len(lines) == 2
    assert all("HF_HUB_OFFLINE is set" in line for line in lines)
    assert "bioclip-plugin models trust FILE --sha256 HASH" in lines[0]
    assert f"bioclip-plugin models fetch speciesnet:{HUGGING_FACE}" in lines[1]


def test_names_that_no_hub_can_have_are_one_line(tmp_path: Path) -> None:
    for source in ("kaggle:google", "hf:a b c", "hf:"):
        with pytest.raises(BioclipError) as refused:
            fetch_from(source)
        assert "\n" not in str(refused.value)
    with pytest.raises(UsageError, match="is not on a hub; confirm a file with: bioclip-plugin models trust"):
        SpeciesNetDetector(str(tmp_path / "md.pt")).fetch()


def test_a_file_that_is_no_checkpoint_is_not_shown_as_one_that_could_be_confirmed(
    tmp_path: Path, bioclip: Bioclip
) -> None:
    page = tmp_path / "page.pt"
    page.write_bytes(b"<html>")
    asked = bioclip("models", "trust", str(page))
    assert (asked.code, asked.out) == (1, "")
    assert "is not a checkpoint" in asked.err
    assert bioclip("models", "trust", str(tmp_path / "missing.pt")).code == 1


def test_fetching_what_cannot_be_fetched_is_wrong_usage(tmp_path: Path, bioclip: Bioclip) -> None:
    own = f"speciesnet:{tmp_path / 'md.pt'}"
    refused = bioclip("models", "fetch", own)
    assert refused.code == 2
    assert "is not on a hub; confirm a file with" in refused.err
    assert bioclip("models", "fetch", own, own).code == 2
    assert bioclip("models", "fetch", own, "no-such-model").code == 1
    assert bioclip("models", "fetch", own, "demo").code == 3


def test_a_checkpoint_is_confirmed_by_command(checkpoint: Path, bioclip: Bioclip) -> None:
    found = sha256(checkpoint_bytes())
    asked = bioclip("models", "trust", str(checkpoint))
    assert (asked.code, asked.err) == (0, "")
    assert f"{checkpoint}: sha256 {found}, not confirmed" in asked.out
    assert f"bioclip-plugin models trust {checkpoint} --sha256 {found}" in asked.out
    assert "Not ready" in bioclip("models", "info", f"speciesnet:{checkpoint}").out
    for variable_without_value in ("", " "):
        assert bioclip("models", "trust", str(checkpoint), "--sha256", variable_without_value).code == 2
    assert bioclip("models", "trust", str(checkpoint), "--sha256", "0" * 64).code == 1
    assert "Not ready" in bioclip("models", "info", f"speciesnet:{checkpoint}").out
    assert bioclip("models", "trust", str(checkpoint), "--sha256", found).code == 0
    assert f"weights sha256: {found}" in bioclip("models", "info", f"speciesnet:{checkpoint}").out
