"""Images as hosts have them: taken alike, or refused in one line."""

from __future__ import annotations

import copy
import io
import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bioclip_core.errors import UsageError
from bioclip_core.files.documents import MAX_DEPTH
from bioclip_plugin import ClassifyRequest, MediaItem, Session, create_plugin_manager
from bioclip_plugin.contracts.manager import BioclipPluginManager
from bioclip_plugin.items.media import Place, Region, Unlisted
from bioclip_plugin.running.given import item_of_image
from bioclip_plugin.testing import FakeModel

LABELS = ("a red fish", "a green fish", "a blue fish")
BLUE = (0, 0, 255)


@pytest.fixture(scope="module")
def manager() -> BioclipPluginManager:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel(logit_scale=10.0))
    return manager


@pytest.fixture(scope="module")
def session(manager: BioclipPluginManager) -> Any:
    with Session(model="fake", labels=LABELS, plugins=manager) as session:
        yield session


def blue_array() -> Any:
    return np.full((10, 20, 3), BLUE, np.uint8)


def blue_file() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), BLUE).save(buffer, "PNG")
    return buffer.getvalue()


TAKEN: dict[str, Callable[[], Any]] = {
    "bytes": blue_file,
    "bytearray": lambda: bytearray(blue_file()),
    "memoryview": lambda: memoryview(blue_file()),
    "struct with bytes": lambda: {"bytes": blue_file(), "path": None},
    "struct with both": lambda: {"bytes": blue_file(), "path": "elsewhere.png"},
    "array": blue_array,
    "array with alpha": lambda: np.dstack([blue_array(), np.full((10, 20), 255, np.uint8)]),
    "array that is a view": lambda: blue_array()[::2, ::-1],
    "array in Fortran order": lambda: np.asfortranarray(blue_array()),
    "array that is read only": lambda: np.broadcast_to(np.array(BLUE, np.uint8), (10, 20, 3)),
    "three rows": lambda: blue_array()[:3, :3],
    "tensor": lambda: torch.from_numpy(blue_array()),
    "PIL image": lambda: Image.new("RGB", (20, 10), BLUE),
    "item with an array": lambda: MediaItem("x", image=blue_array()),
    "item with a buffer": lambda: MediaItem("x", data=memoryview(blue_file())),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", TAKEN)
def test_every_form_of_one_image_has_one_answer(session: Session, manager: BioclipPluginManager, kind: str) -> None:
    answer = session.classify(TAKEN[kind]())
    assert answer.failure is None
    assert answer.best is not None
    assert answer.best.name == "a blue fish"
    (again,) = manager.hook.classify_images(items=[TAKEN[kind]()], request=ClassifyRequest(model="fake", labels=LABELS))
    assert again.best == answer.best


@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 1)])
def test_a_grey_array_is_a_grey_image(session: Session, shape: tuple[int, ...]) -> None:
    answer = session.classify(np.full(shape, 200, np.uint8))
    assert [round(one.probability, 3) for one in answer.candidates] == [0.333, 0.333, 0.333]


def test_a_path_in_a_struct_is_opened(session: Session, tmp_path: Path) -> None:
    (tmp_path / "blue.png").write_bytes(blue_file())
    answer = session.classify({"bytes": None, "path": str(tmp_path / "blue.png")})  # type: ignore[arg-type]
    assert (answer.item.uri, answer.best and answer.best.name) == (str(tmp_path / "blue.png"), "a blue fish")


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "channels first": (
        lambda: np.zeros((3, 224, 224), np.uint8),
        "numpy.ndarray of shape 3 × 224 × 224 and type uint8 has its channels first: needed is height × width × channels, "
        "image.transpose(1, 2, 0)",
    ),
    "a tensor with channels first": (lambda: torch.zeros((3, 8, 9), dtype=torch.uint8), "image.permute(1, 2, 0)"),
    "floating-point numbers": (
        lambda: np.zeros((8, 9, 3)),
        "numpy.ndarray of shape 8 × 9 × 3 and type float64: needed are whole numbers from 0 to 255 (uint8)",
    ),
    "a normalised tensor": (lambda: torch.zeros(8, 9, 3), "torch.Tensor of shape 8 × 9 × 3 and type float32: needed are"),
    "16 bits": (lambda: np.zeros((8, 9), np.uint16), "type uint16"),
    "truth values": (lambda: np.zeros((8, 9), bool), "type bool"),
    "several images": (lambda: np.zeros((2, 8, 9, 3), np.uint8), "is several images"),
    "two channels": (lambda: np.zeros((8, 9, 2), np.uint8), "is not an image: needed is height × width × 3 (RGB)"),
    "a row": (lambda: np.zeros(9, np.uint8), "of shape 9 and type uint8 is not an image"),
    "a number": (lambda: np.uint8(7), "of shape () and type uint8 is not an image"),
    "no rows": (lambda: np.zeros((0, 9, 3), np.uint8), "is not an image"),
    "an open file": (lambda: io.BytesIO(blue_file()), "BytesIO is an open file: give its path, or its bytes"),
    "a list": (lambda: [blue_array()], "list is not an image: give one image, or all of them to classify_stream"),
    "an empty struct": (lambda: {"bytes": None, "path": None}, "both are empty"),
    "nothing": (lambda: None, "NoneType is not an image: give a path, bytes, a PIL image or a MediaItem, or an array"),
    "data that are text": (lambda: MediaItem("x", data="text"), "x: data of type str: give the bytes"),  # type: ignore[arg-type]
    "an image that is text": (lambda: MediaItem("x", image="text"), "x: image of type str"),  # type: ignore[arg-type]
    "an item with channels first": (lambda: MediaItem("x", image=np.zeros((3, 8, 9), np.uint8)), "x: numpy.ndarray"),  # type: ignore[arg-type]
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_could_be_read_in_several_ways_is_refused_in_one_line(session: Session, kind: str) -> None:
    make, reason = REFUSED[kind]
    with pytest.raises(UsageError, match=re.escape(reason)) as refused:
        session.classify(make())
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "one", ["photo.jpg", b"bytes", Path("photo.jpg"), np.zeros((8, 9, 3), np.uint8), Image.new("L", (8, 9)), MediaItem("x")]
)  # fmt: skip
def test_one_image_where_several_are_wanted_is_refused(session: Session, one: Any) -> None:
    with pytest.raises(UsageError, match="give a list of images"):
        next(session.classify_stream(one))
    with pytest.raises(UsageError, match="give a list of images"):
        next(iter(session.embed_stream(one)))


def test_an_array_of_images_is_a_stream(session: Session) -> None:
    answers = list(session.classify_stream(np.stack([blue_array(), blue_array()])))
    assert [answer.best and answer.best.name for answer in answers] == ["a blue fish"] * 2


@given(
    shape=st.lists(st.integers(0, 6), max_size=5).map(tuple),
    dtype=st.sampled_from(
        ["uint8", "int8", "uint16", "int64", "float16", "float32", "bool", "complex64", "U3", "object"]
    ),
)
@settings(max_examples=150, deadline=None)
def test_any_array_is_an_image_of_its_size_or_refused(shape: tuple[int, ...], dtype: str) -> None:
    try:
        item = item_of_image(np.zeros(shape, dtype))
    except UsageError:
        return
    assert dtype == "uint8"
    assert isinstance(item, MediaItem)
    assert item.image is not None
    assert item.image.size == (shape[1], shape[0])
    assert item.image.mode == {1: "L", 3: "RGB", 4: "RGBA"}[shape[2] if len(shape) == 3 else 1]


BAD_FIELDS: dict[str, tuple[Any, str]] = {
    "place None": (lambda: MediaItem("q", place=None), "the item q has the place None, which cannot be used"),  # type: ignore[arg-type]
    "country 5": (lambda: MediaItem("q", place=Place(country=5)), "the item q has the place"),  # type: ignore[arg-type]
    "latitude 999": (lambda: MediaItem("q", place=Place(latitude=999)), "the item q has the place"),
    "latitude as text": (lambda: MediaItem("q", place=Place(latitude="52.1")), "the item q has the place"),  # type: ignore[arg-type]
    "longitude NaN": (lambda: MediaItem("q", place=Place(longitude=float("nan"))), "the item q has the place"),
    "uri None": (lambda: MediaItem(None), "an item with the uri None; a text is needed"),  # type: ignore[arg-type]
    "uri 5": (lambda: MediaItem(5), "an item with the uri 5; a text is needed"),  # type: ignore[arg-type]
    "frame -1": (lambda: MediaItem("q", frame=-1), "an item with the frame -1; a whole number from 0"),
    "sequence 5": (lambda: MediaItem("q", sequence=5), "the item q has sequence 5, which cannot be used"),  # type: ignore[arg-type]
    "deployment 7": (lambda: MediaItem("q", deployment=7), "the item q has deployment 7"),  # type: ignore[arg-type]
    "metadata None": (lambda: MediaItem("q", metadata=None), "the item q has metadata None"),  # type: ignore[arg-type]
    "metadata a list": (lambda: MediaItem("q", metadata=[1]), "the item q has metadata list [1]"),  # type: ignore[arg-type]
    "metadata a text": (lambda: MediaItem("q", metadata="text"), "the item q has metadata 'text'"),  # type: ignore[arg-type]
    "metadata without a text": (lambda: MediaItem("q", metadata={"a": _Mute()}), "cannot be read: RuntimeError: no text"),
    "path 5": (lambda: MediaItem("q", path=5), "the item q has path 5"),  # type: ignore[arg-type]
    "regions None": (lambda: MediaItem("q", regions=None), "the item q has regions None"),  # type: ignore[arg-type]
    "one region": (lambda: MediaItem("q", regions=Region(0, 0, 1, 1)), "the item q has regions"),  # type: ignore[arg-type]
    "a region of texts": (lambda: MediaItem("q", regions=(Region("0", 0, 1, 1),)), "region ('0', 0, 1, 1): a box is x"),  # type: ignore[arg-type]
    "unread a text": (lambda: MediaItem("q", unread="captured_at"), "the item q has unread 'captured_at'"),  # type: ignore[arg-type]
    "within 3": (lambda: MediaItem("q", within=3), "the item q has within 3"),  # type: ignore[arg-type]
    "unlisted without a reason": (lambda: Unlisted("q", None), "with the reason None; a sentence is needed"),  # type: ignore[arg-type]
}  # fmt: skip


class _Mute:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("kind", BAD_FIELDS)
def test_a_field_of_the_wrong_type_is_refused_after_the_answers_of_the_items_before(
    session: Session, kind: str
) -> None:
    make, reason = BAD_FIELDS[kind]
    for stream in (session.classify_stream, session.embed_stream):
        before: list[str] = []
        results: Any = stream(one() for one in (lambda: MediaItem("good", image=blue_array()), make))
        with pytest.raises(UsageError, match=re.escape(reason)) as refused:
            before.extend(result.item.uri for result in results)
        assert before == ["good"]
        assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("copied", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy])
def test_an_answer_can_be_pickled_and_copied(session: Session, copied: Callable[[Any], Any]) -> None:
    item = MediaItem("q", image=blue_array(), metadata={"a": [1]}, regions=(Region(0, 0, 1, 0.5),))
    answer = session.classify(item)
    again = copied(answer)
    assert again == answer
    assert again.item.metadata == {"a": [1]}
    assert again.item.image.tobytes() == answer.item.image.tobytes()  # type: ignore[union-attr]
    failure = session.classify("gone.jpg")
    assert copied(failure) == failure


def test_metadata_as_deep_as_a_document_may_be_are_kept(session: Session) -> None:
    deep: dict[str, Any] = {}
    for _ in range(MAX_DEPTH - 1):
        deep = {"a": deep}
    assert session.classify(MediaItem("q", image=blue_array(), metadata=deep)).item.metadata == deep


@pytest.mark.parametrize("items", [None, 3, object()])
def test_what_holds_no_images_is_refused(session: Session, manager: BioclipPluginManager, items: Any) -> None:
    for ask in (session.classify_stream, session.embed_stream):
        with pytest.raises(UsageError, match="give a list or a generator of images"):
            next(iter(ask(items)))
    with pytest.raises(UsageError, match="give a list or a generator of images"):
        manager.hook.classify_images(items=items, request=ClassifyRequest(model="fake", labels=LABELS))


def _damaged(kind: str, **options: Any) -> bytes:
    """Return an image file of which Pillow reads the header, and fails at the pixels."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, kind, **options)
    data = bytearray(buffer.getvalue())
    middle = 60 if kind == "WEBP" else len(data) // 2
    data[middle : middle + 200] = b"\xff" * 200
    return bytes(data[:middle] if kind == "JPEG" else data)


@pytest.mark.parametrize("action", ["error", "always", "ignore"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ],
    ids=str,
)
def test_an_image_that_the_host_opened_and_that_turns_out_damaged_is_a_failure(
    session: Session, capfd: pytest.CaptureFixture[str], kind: str, options: dict[str, Any], action: Any
) -> None:
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter(action)
        images = [Image.open(io.BytesIO(data)) for data in (blue_file(), _damaged(kind, **options), blue_file())]
        answers = list(session.classify_stream(images))
    assert [answer.failure is None for answer in answers] == [True, False, True]
    assert answers[1].failure is not None
    assert answers[1].failure.stage == "decode"
    assert (issued, capfd.readouterr()) == ([], ("", ""))
