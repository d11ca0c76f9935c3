"""Routes of /v1: equal answers to a Session's, items under media roots, runs, labels, and errors as problem documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_samples import TOKEN, client_of, jpeg
from starlette.testclient import TestClient

from bioclip_plugin import Session
from bioclip_plugin.items.answers import Answer
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.serving.security import Access
from bioclip_plugin.serving.state import Workbench
from bioclip_plugin.store import open_store

JPEG = {"Content-Type": "image/jpeg"}
BOXES = ((0.0, 0.0, 0.5, 0.5), (0.25, 0.25, 0.75, 0.5))


def problem(response: Any, status: int) -> dict[str, Any]:
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json"), (
        response.text
    )
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["detail"]
    assert response.headers["x-content-type-options"] == "nosniff"
    return document


def shown(answer: Answer) -> list[dict[str, Any]]:
    return [
        {"region": one["region"], "candidates": one["candidates"], "consensus": one["consensus"], "flags": []}
        for one in answer.as_dicts()
    ]


def test_a_lone_image_gets_the_answer_of_a_session_bit_for_bit(client: TestClient, session: Session) -> None:
    item = MediaItem("x", data=jpeg(), regions=tuple(Region(*box) for box in BOXES))
    whole, boxes = shown(session.classify(jpeg())), shown(session.classify(item))
    body = client.post("/v1/classify", params={"name": "a.jpg"}, content=jpeg(), headers=JPEG).json()
    assert (body["name"], body["regions"], body["model"]["name"]) == ("a.jpg", whole, "demo")
    assert body["model"]["answer_id"] == session.engine.identities.answer_id
    form = client.post(
        "/v1/classify", files={"image": ("b.jpg", jpeg(), "image/jpeg")}, data={"regions": json.dumps(BOXES)}
    )
    assert form.json()["regions"] == boxes


def test_a_batch_is_answered_in_its_order_and_a_bad_image_fails_alone(client: TestClient, session: Session) -> None:
    images = [jpeg(seed) for seed in range(6)]
    parts = [("image", (f"{number}.jpg", data)) for number, data in enumerate([*images[:3], b"no image", *images[3:]])]
    results = client.post("/v1/classify/batch", files=parts).json()["results"]
    assert [result["name"] for result in results] == [f"{number}.jpg" for number in range(7)]
    assert results[3]["failure"]["stage"] == "decode"
    del results[3]
    for result, data in zip(results, images, strict=True):
        (region,), alone = result["regions"], session.classify(data)
        assert [one["scientific_name"] for one in region["candidates"]] == [one.name for one in alone.candidates]
        # In fp32 a batch changes at most the rounding of float16 features.
        assert [one["probability"] for one in region["candidates"]] == pytest.approx(
            [one.probability for one in alone.candidates], abs=1e-3
        )


def test_features_are_those_of_the_session(client: TestClient, session: Session) -> None:
    body = client.post("/v1/embed", content=jpeg(), headers=JPEG).json()
    (alone,) = session.embed_stream([jpeg()])
    assert alone.features_RD is not None
    assert np.array_equal(np.array(body["features"], np.float16), alone.features_RD)
    assert (body["dimension"], body["feature_id"]) == (session.engine.dimension, session.engine.identities.feature_id)


@pytest.fixture
def stored(session: Session, tmp_path: Path) -> Iterator[Workbench]:
    """A store with an image under the media root, one beside it, a link out of it, one that is gone, and no image."""
    inside, outside = tmp_path / "media", tmp_path / "media-other"
    inside.mkdir()
    outside.mkdir()
    for file in (inside / "a.jpg", outside / "b.jpg", inside / "gone.jpg"):
        file.write_bytes(jpeg())
    (inside / "link.jpg").symlink_to(outside / "b.jpg")
    (inside / "text.jpg").write_text("no image")
    files = [inside / "a.jpg", outside / "b.jpg", inside / "link.jpg", inside / "gone.jpg", inside / "text.jpg"]
    address = str(tmp_path / "results.db")
    with Session(model="demo", precision="fp32", runtime="torch", store=address) as writer:
        writer.engine.use_encoder(session.engine.encoder)
        items = [MediaItem(str(file), file, regions=tuple(Region(*box) for box in BOXES[:1])) for file in files]
        list(writer.classify_stream(items))
    (inside / "gone.jpg").unlink()
    with open_store(address) as store:
        made = Workbench(Access(8710, TOKEN), session, store=store, media_roots=(inside,))
        yield made
        made.close()


def test_items_of_the_store_are_opened_under_media_roots_alone(stored: Workbench, session: Session) -> None:
    item = MediaItem("x", data=jpeg(), regions=(Region(*BOXES[0]),))
    with client_of(stored) as client:
        ask = lambda name, **more: client.post("/v1/classify", json={"item": name, **more})  # noqa: E731
        first = next(iter(stored.needed_store().items_of(stored.needed_store().run()))).regions[0].region_id
        for name in ("1-1-0", f"1-1-{first}"):
            assert ask(name).json()["regions"] == shown(session.classify(item))
        other = shown(session.classify(replace(item, regions=(Region(*BOXES[1]),))))
        assert ask("1-1-0", regions=[list(BOXES[1])]).json()["regions"] == other
        batch = client.post("/v1/classify/batch", json={"items": ["1-1-0", "1-5-0"]}).json()["results"]
        assert [result["failure"] is None for result in batch] == [True, False]
        assert "--media-root" in problem(ask("1-2-0"), 403)["detail"]
        problem(ask("1-3-0"), 403)
        problem(ask("1-4-0"), 404)
        for name in ("1-1-999999", "9-1-0", "1-99-0", "../../etc/passwd", "1-1-0/../../x", f"1-{10**30}-0", "", "\0"):
            assert "RUN-MEDIA-REGION" in problem(ask(name), 404)["detail"]


def test_runs_are_listed_and_shown_with_their_failures(stored: Workbench) -> None:
    with client_of(stored) as client:
        (run,) = client.get("/v1/runs").json()["runs"]
        counts = {"listed": 5, "done": 4, "failed": 1, "todo": 0}
        assert run == run | {"run": 1, "status": "finished", "model": "demo", **counts}
        details = client.get("/v1/runs/1").json()
        assert details == details | run
        assert [(one["stage"], one["count"]) for one in details["failures"]] == [("decode", 1)]
        assert "no run 2" in problem(client.get("/v1/runs/2"), 404)["detail"]
        problem(client.get(f"/v1/runs/{10**30}"), 422)


def test_labels_are_found_by_a_part_of_a_name(client: TestClient, session: Session) -> None:
    name = session.engine.label_set.taxon(0).scientific_name
    found = client.get("/v1/labels", params={"q": name.upper(), "limit": 1}).json()
    assert (found["hits"][0]["name"], found["hits"][0]["labels"], len(found["hits"])) == (name, 1, 1)
    assert client.get("/v1/labels", params={"q": "no such name"}).json() == {"hits": [], "total": 0}


def test_without_a_model_the_rest_works_and_the_reason_is_given() -> None:
    bench = Workbench(Access(8710, TOKEN), None, "there is no model nowhere")
    with client_of(bench) as client:
        assert client.get("/v1/health").json() == client.get("/v1/health").json() | {
            "status": "no model",
            "why_no_model": "there is no model nowhere",
        }
        for path in ("classify", "classify/batch", "embed"):
            answer = client.post(f"/v1/{path}", content=jpeg(), headers=JPEG)
            assert "there is no model nowhere" in problem(answer, 503)["detail"]
        problem(client.get("/v1/runs"), 503)


def test_every_error_is_a_problem_document(
    client: TestClient, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem(client.get("/v1/nothing"), 404)
    problem(client.put("/v1/classify"), 405)
    problem(client.get("/v1/health", headers={"Host": "evil.example"}), 400)
    problem(client.get("/v1/health", headers={"Authorization": "Bearer wrong"}), 401)
    problem(client.post("/v1/classify", content=b"x", headers={"Content-Type": "text/plain"}), 415)
    faults = problem(client.get("/v1/labels", params={"q": "x", "limit": "many"}), 422)["errors"]
    assert [fault["pointer"] for fault in faults] == ["#/query/limit"]
    monkeypatch.setattr(bench.metrics, "text", lambda: 1 / 0)
    assert "ZeroDivision" not in str(problem(client.get("/v1/metrics"), 500))
    page = client.get("/v1/nothing<b>", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    assert "<b>" not in page.text


@pytest.mark.parametrize(
    ("send", "status", "words"),
    [
        (lambda c: c.post("/v1/classify", content=b"<svg onload='x()'/>", headers={"Content-Type": "image/svg+xml"}), 422, "not an image"),
        (lambda c: c.post("/v1/classify", files={"image": ("x.html", b"<script>x()</script>")}), 422, "not an image"),
        (lambda c: c.post("/v1/classify", content=b"", headers=JPEG), 422, "empty"),
        (lambda c: c.post("/v1/classify", content=b"x" * 200_001, headers=JPEG), 413, "0.2 MB"),
        (lambda c: c.post("/v1/classify", content=iter([b"x" * 150_000] * 2), headers=JPEG), 413, "0.2 MB"),
        (lambda c: c.post("/v1/classify", content=b"x", headers={**JPEG, "Content-Length": "-1"}), 400, "Content-Length"),
        (lambda c: c.post("/v1/classify", files={"photo": ("x.jpg", jpeg())}), 422, "no file named image"),
        (lambda c: c.post("/v1/classify", files=[("image", ("x.jpg", jpeg()))] * 2), 422, "/batch"),
        (lambda c: c.post("/v1/classify", content=b"--x", headers={"Content-Type": "multipart/form-data; boundary=x"}), 422, "form"),
        (lambda c: c.post("/v1/classify", content=b"x", headers={"Content-Type": "multipart/form-data"}), 422, "form"),
        (lambda c: c.post("/v1/classify?regions=[[0,0,2,1]]", content=jpeg(), headers=JPEG), 422, "regions"),
        (lambda c: c.post("/v1/classify?regions=[[0,0,NaN,1]]", content=jpeg(), headers=JPEG), 422, "regions"),
        (lambda c: c.post(f"/v1/classify?regions={'[' * 5000}", content=jpeg(), headers=JPEG), 422, "regions"),
        (lambda c: c.post("/v1/classify", content=b"[" * 100_000, headers={"Content-Type": "application/json"}), 422, "64 deep"),
        (lambda c: c.post("/v1/classify", json={"item": ["1-1-0"]}), 422, "RUN-MEDIA-REGION"),
        (lambda c: c.post("/v1/classify", json={"path": "/etc/passwd"}), 422, "needed is an object"),
        (lambda c: c.post("/v1/classify/batch", json={"items": ["1-1-0"] * 65}), 422, "1 to 64"),
    ],
)  # fmt: skip
def test_bad_uploads_are_refused_with_the_reason(
    client: TestClient, send: Callable[[TestClient], Any], status: int, words: str
) -> None:
    assert words in problem(send(client), status)["detail"]


def test_an_image_of_too_many_pixels_is_refused_by_its_header(client: TestClient) -> None:
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")
    answer = problem(client.post("/v1/classify", content=bomb, headers={"Content-Type": "image/png"}), 413)
    assert "20,000 × 10,000" in answer["detail"]


def test_names_of_files_come_back_as_data_and_never_in_a_header(client: TestClient) -> None:
    name = "a\r\nSet-Cookie: x=1\r\n\r\n<script>.jpg"
    answer = client.post("/v1/classify", params={"name": name}, content=jpeg(), headers=JPEG)
    assert answer.json()["name"] == "a Set-Cookie: x=1 <script>.jpg"
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-type"] == "application/json"


def test_figures_have_the_templates_of_routes_as_labels(client: TestClient) -> None:
    client.get("/v1/runs/7")
    client.get("/some/secret/path")
    client.post("/v1/classify", content=jpeg(), headers=JPEG)
    text = client.get("/v1/metrics").text
    assert 'bioclip_requests_total{method="GET",route="/v1/runs/{number}",status="503"} 1.0' in text
    assert 'route="unmatched",status="404"' in text
    assert 'bioclip_images_total{outcome="answered"} 1.0' in text
    assert "secret" not in text


def test_the_description_names_every_route_and_its_page_needs_nothing_from_elsewhere(client: TestClient) -> None:
    document = client.get("/v1/openapi.json").json()
    assert {"/v1/classify", "/v1/classify/batch", "/v1/embed", "/v1/labels", "/v1/runs"} <= document["paths"].keys()
    assert all("ProblemDetails" in str(route) for methods in document["paths"].values() for route in methods.values())
    page = client.get("/v1/docs").text
    assert all(f"<code>{path}</code>" in page for path in document["paths"])
    assert "<script" not in page
    assert "//" not in page.replace("http://127.0.0.1:8710/v1", "")
    assert client.get("/serving.css").headers["content-type"].startswith("text/css")
