"""The AddaxAI 7 model folder: the same answers as a Session, in a process that cannot import open_clip or our packages."""

from __future__ import annotations

import ast
import csv
import importlib.util
import json
import os
import subprocess
import sys
import warnings
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from bioclip_core.errors import BioclipError, LabelSetError, ModelError, UsageError
from bioclip_core.taxonomy import Taxon, taxon_from_row
from bioclip_plugin import MediaItem, Region, Session, create_plugin_manager
from bioclip_plugin.cli import run
from bioclip_plugin.formats.addaxai.write import Exported, check_folder, class_names, export_folder, taxonomy_csv
from bioclip_plugin.items.request import ClassifyRequest
from bioclip_plugin.running.engine import Engine
from bioclip_plugin.testing import FakeModel

# This is how AddaxAI's worker uses a model folder: load inference.py by its path, open each image once, crop, stack, classify.
# It opens images as stored, without EXIF rotation, and passes boxes of the upright image.
WORKER = """
import importlib.util, json, sys
from pathlib import Path
FORBIDDEN = ("open_clip", "bioclip_core", "bioclip_plugin", "bioclip_training", "pyarrow", "sqlalchemy", "exifread", "torchvision")
class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ImportError(name + " is not in AddaxAI's environment")
sys.meta_path.insert(0, Nowhere())
import numpy as np
from PIL import Image
folder = Path(sys.argv[1])
spec = importlib.util.spec_from_file_location("custom_inference", folder / "inference.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
model = module.ModelInference(folder, folder / manifest["model_fname"])
has_gpu = model.check_gpu()
model.load_model()
results, single = [], []
for path, boxes in json.loads(sys.stdin.read()):
    image = Image.open(path)
    crops = [model.get_crop(image, tuple(box)) for box in boxes]
    rows = model.classify_batch(np.stack([model.get_tensor(crop) for crop in crops]))
    results.append([dict(row) for row in rows])
    single.append(dict(model.get_classification(crops[0])))
loaded = [name for name in FORBIDDEN if name in sys.modules]
print(json.dumps({"gpu": has_gpu, "names": model.get_class_names(), "results": results, "single": single, "loaded": loaded}))
"""

Asked = list[tuple[Path, list[tuple[float, float, float, float]]]]
WHOLE = (0.0, 0.0, 1.0, 1.0)


def answers_of(folder: Path, asked: Asked) -> dict[str, Any]:
    """Return the answers of the folder, called as AddaxAI calls it, in a separate process."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(folder)], input=json.dumps([(str(path), boxes) for path, boxes in asked]), cwd=folder,
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def inside(folder: Path, asked: Asked) -> dict[str, Any]:
    """Return the same answers from this process, for tests with many calls."""
    model = loaded(folder)
    results = []
    for path, boxes in asked:
        with Image.open(path) as image:
            crops = [model.get_crop(image, box) for box in boxes]
            results.append([dict(row) for row in model.classify_batch(np.stack([model.get_tensor(c) for c in crops]))])
    return {"names": model.get_class_names(), "results": results}


def loaded(folder: Path) -> Any:
    """Load the ModelInference of the folder."""
    spec = importlib.util.spec_from_file_location(f"inference_of_{folder.name}", folder / "inference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.ModelInference(folder, folder / "model.pt")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # torch 2.15 would store models in a form that torch 2.0 cannot load
        model.load_model()
    return model


def export(folder: Path, model: str = "demo", **options: Any) -> Exported:
    force, name = options.pop("force", False), options.pop("name", "")
    request = ClassifyRequest(model=model, device="cpu", precision="fp32", **options)
    check_folder(folder, force=force)
    engine = Engine(request, create_plugin_manager(installed=False))
    _ = engine.labels  # as the command asks: missing labels are reported before the model is opened
    return export_folder(engine.model, engine.encoder, engine.classifier, folder, name=name, force=force)


def session_answers(
    asked: Asked, model: str, labels: Path | None = None, **options: Any
) -> list[list[dict[str, float]]]:
    """Return the same from a Session: the probability of every species by its name in lower case."""
    chosen = {} if labels is None else {"labels": str(labels)}
    with Session(model=model, top=1000, device="cpu", precision="fp32", **chosen, **options) as session:
        items = [
            MediaItem(uri=str(path), path=path, regions=tuple(Region(*box) for box in boxes)) for path, boxes in asked
        ]
        found = list(session.classify_stream(items))
    assert [answer.failure for answer in found] == [None] * len(asked)
    return [
        [{one.name.lower(): one.probability for one in region.candidates} for region in answer.regions]
        for answer in found
    ]


def largest_difference(said: dict[str, Any], wanted: list[list[dict[str, float]]]) -> float:
    differences = []
    for rows, wanted_rows in zip(said["results"], wanted, strict=True):
        for row, wanted_row in zip(rows, wanted_rows, strict=True):
            assert set(wanted_row) <= set(row)
            differences += [abs(row[name] - wanted_row.get(name, 0.0)) for name in row]
    return max(differences)


def scene(path: Path, size: tuple[int, int] = (320, 240), *, seed: int = 1, **options: Any) -> Path:
    """Draw a picture with soft shapes of many colours, in which every place looks different."""
    chance = np.random.default_rng(seed)
    small = Image.fromarray(chance.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    small.resize(size, Image.Resampling.BICUBIC).save(path, **options)
    return path


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "DEMO-v1"
    export(folder)
    return folder


# -- the same answers --------------------------------------------------------------------------------------------------

BOXES = [WHOLE, (0.1, 0.2, 0.5, 0.6), (0.62, 0.05, 0.3, 0.9), (0.0, 0.97, 0.02, 0.03)]


def test_it_answers_as_a_session_does_without_open_clip_or_anything_of_ours(demo_folder: Path, tmp_path: Path) -> None:
    asked: Asked = [(scene(tmp_path / f"{n}.png", seed=n), BOXES) for n in range(3)]
    said = answers_of(demo_folder, asked)
    assert said["loaded"] == []
    assert largest_difference(said, session_answers(asked, "demo")) < 1e-4
    assert said["single"] == [pytest.approx(rows[0], abs=1e-5) for rows in said["results"]]
    assert all(sum(row.values()) == pytest.approx(1, abs=1e-4) for rows in said["results"] for row in rows)


def test_boxes_are_of_the_upright_image_whatever_the_exif_orientation(demo_folder: Path, tmp_path: Path) -> None:
    asked: Asked = []
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        options: dict[str, Any] = {"jpg": {"quality": 95}, "webp": {"lossless": True}, "png": {}, "tif": {}}
        for kind, more in options.items():
            asked.append((scene(tmp_path / f"{orientation}.{kind}", exif=exif, **more), BOXES[1:3]))
    said = inside(demo_folder, asked)
    assert largest_difference(said, session_answers(asked, "demo")) < 1e-3
    # The stored pixels are the same each time; only the content of a box differs.
    assert largest_difference({"results": said["results"][4:8]}, [said["results"][0]] * 4) > 0.05


def test_an_image_that_is_upright_already_gives_the_same_crop_as_one_that_is_stored_turned(
    demo_folder: Path, tmp_path: Path
) -> None:
    model, exif = loaded(demo_folder), Image.Exif()
    exif[0x0112] = 6
    with Image.open(scene(tmp_path / "a.png", exif=exif)) as stored:
        turned = ImageOps.exif_transpose(stored)
        bare = Image.fromarray(np.asarray(turned))  # without EXIF, like a frame of a video
        crops = [np.asarray(model.get_crop(image, BOXES[1])).astype(int) for image in (stored, turned, bare)]
    assert np.abs(crops[0] - crops[1]).max() <= 2
    assert np.array_equal(crops[1], crops[2])


def test_a_box_without_pixels_is_none_and_one_that_sticks_out_is_cut(demo_folder: Path) -> None:
    model, image = loaded(demo_folder), Image.new("RGB", (40, 30), (9, 99, 200))
    for box in ((0.5, 0.5, 0.0, 0.2), (1.2, 0.1, 0.1, 0.1), (0.1, -0.5, 0.2, 0.3), (float("nan"), 0, 1, 1)):
        assert model.get_crop(image, box) is None
    crop = model.get_crop(image, (0.9, -0.1, 0.3, 0.5))
    assert crop.size == (72, 72)
    assert crop.getpixel((0, 0)) == (9, 99, 200)


def test_colours_of_every_kind_are_taken_as_a_session_takes_them(demo_folder: Path, tmp_path: Path) -> None:
    asked: Asked = []
    with Image.open(scene(tmp_path / "rgb.png")) as image:
        for mode in ("L", "RGBA", "P", "LA", "1", "CMYK", "I;16"):
            path = tmp_path / (f"{len(asked)}.tif" if mode in ("CMYK", "I;16") else f"{len(asked)}.png")
            if mode == "I;16":
                Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path)
            else:
                image.convert(mode).save(path)
            asked.append((path, BOXES))
    assert largest_difference(inside(demo_folder, asked), session_answers(asked, "demo")) < 1e-3


@pytest.mark.shared_data
def test_real_trail_camera_photographs_get_a_sessions_answers(demo_folder: Path) -> None:
    folder = Path(os.environ["BIOCLIP_DATA"]).resolve() / "data" / "camera_trap_samples"
    photos = [path for path in sorted(folder.glob("*.jpg")) if "truncated" not in path.name]
    assert len(photos) == 13
    boxes = [(0.3, 0.4, 0.3, 0.3), WHOLE, (0.05, 0.1, 0.15, 0.3)]
    # One box per image: a Session decodes an image once for all its boxes, while AddaxAI passes them one by one.
    asked: Asked = [(path, [box]) for n, path in enumerate(photos) for box in (boxes[n % 3], boxes[(n + 1) % 3])]
    assert largest_difference(inside(demo_folder, asked), session_answers(asked, "demo")) < 0.01


@pytest.mark.shared_data
def test_a_trained_model_with_a_label_set_answers_alike_on_leaves_and_photographs(tmp_path: Path) -> None:
    from bioclip_core.device import choose_compute
    from bioclip_core.labels.building import build_label_set
    from bioclip_core.models import find_model
    from bioclip_core.open_clip_encoder import open_encoder

    data = Path(os.environ["BIOCLIP_DATA"]).resolve()
    name = f"local-dir:{data / 'models' / 'mini'}"
    with (data / "data" / "leaves" / "collection.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    encoder = open_encoder(find_model(name, {}), choose_compute("cpu", "fp32"))
    build_label_set([taxon_from_row(row) for row in rows], encoder, tmp_path / "labels")
    made = export(tmp_path / "MINI-v1", name, labels=str(tmp_path / "labels"))
    leaves = [data / "data" / "leaves" / row["image"] for row in rows[::90]]
    photos = [
        data / "data" / "camera_trap_samples" / one
        for one in ("ocelot.jpg", "african_elephants_with_exif_orientation.jpg")
    ]
    asked: Asked = [(path, [box]) for path in [*leaves, *photos] for box in (WHOLE, (0.2, 0.2, 0.5, 0.5))]
    said = inside(made.folder, asked)
    wanted = session_answers(asked, name, tmp_path / "labels")
    assert largest_difference(said, wanted) < 0.01
    best = [max(rows[0], key=rows[0].__getitem__) for rows in said["results"]]
    assert best == [max(rows[0], key=rows[0].__getitem__) for rows in wanted]


# -- scales, temperature and subsets -----------------------------------------------------------------------------------


def test_a_temperature_is_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bioclip_core.calibration import Calibration, keep_calibration
    from bioclip_core.models import find_model

    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    model = find_model("demo", create_plugin_manager(installed=False).models())
    assert model.own_label_set is not None
    manifest = json.loads((model.own_label_set / "label_set.json").read_text())
    keep_calibration(model, Calibration(2.5, model.weights_sha256, manifest["id"], {}))
    asked: Asked = [(scene(tmp_path / "a.png"), BOXES)]
    said = inside(export(tmp_path / "WARM").folder, asked)
    wanted = session_answers(asked, "demo")
    assert largest_difference(said, wanted) < 1e-4
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "none"))
    assert largest_difference(said, session_answers(asked, "demo")) > 0.01


def test_only_the_labels_asked_for_are_inside(demo_folder: Path, tmp_path: Path) -> None:
    with (demo_folder / "taxonomy.csv").open() as file:
        family = next(csv.DictReader(file))["family"]
    made = export(tmp_path / "FEW", taxa=(family,))
    with (made.folder / "taxonomy.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert 1 < len(rows) == made.classes < 72
    assert {row["family"] for row in rows} == {family}
    asked: Asked = [(scene(tmp_path / "a.png"), BOXES)]
    assert largest_difference(inside(made.folder, asked), session_answers(asked, "demo", taxa=(family,))) < 1e-4


def test_words_of_the_users_own_are_classes_too(tmp_path: Path) -> None:
    made = export(tmp_path / "WORDS", labels=("A red Thing", "a green thing"))
    said = inside(made.folder, [(scene(tmp_path / "a.png"), [WHOLE])])
    assert said["names"] == {"1": "a red thing", "2": "a green thing"}


@pytest.mark.parametrize("is_probe", [False, True])
def test_labels_on_several_scales_are_each_on_their_own(tmp_path: Path, is_probe: bool) -> None:
    """Rows of a joined set alternate between kinds, one of which has a mean to subtract; each row of a probe has its own scale."""
    from bioclip_core.classify import Classifier
    from bioclip_core.labels.label_set import in_memory
    from bioclip_core.labels.manifest import Block
    from bioclip_core.labels.probe import LinearProbe

    engine = Engine(
        ClassifyRequest(model="demo", device="cpu", precision="fp32"), create_plugin_manager(installed=False)
    )
    encoder = engine.encoder
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(6, encoder.dimension))
    mean = tuple(float(value) for value in chance.normal(size=encoder.dimension) * 0.05)
    blocks = [
        Block(0, 2, "text", 20.0),
        Block(2, 3, "prototype", 30.0, 1.5, mean),
        Block(3, 5, "text", 20.0),
        Block(5, 6, "prototype", 30.0, 1.5, mean),
    ]
    taxa = [Taxon.of(("K", "P", "C", "O", "F", "G", letter)) for letter in "abcdef"]
    labels = in_memory(taxa, rows / np.linalg.norm(rows, axis=1, keepdims=True), encoder.identity, blocks)
    if is_probe:
        probe = LinearProbe(tuple(taxa), 9 * rows, chance.normal(size=6), np.array(mean))
        labels = probe.in_memory(encoder.identity)
    engine.classifier = Classifier(labels, temperature=1.3)
    made = export_folder(engine.model, engine.encoder, engine.classifier, tmp_path / "JOINED")
    path = scene(tmp_path / "a.png")
    said = inside(made.folder, [(path, [WHOLE])])
    order = "abcdef" if is_probe else "abdecf"
    assert list(said["names"].values()) == [f"g {letter}" for letter in order]
    from bioclip_core.images.decoding import decode_regions

    (pixels,) = decode_regions(path.read_bytes(), [None], encoder.preprocessing)
    (wanted,) = engine.classifier.classify(encoder.encode_images(pixels[None]), top=6)
    assert said["results"][0][0] == pytest.approx(
        {one.name.lower(): one.probability for one in wanted.by_rank["species"]}, abs=1e-4
    )


TOWERS: dict[str, dict[str, Any]] = {
    "resnet": {"layers": [1, 1, 1, 1], "width": 16, "image_size": 64},
    "attentional pooling": {
        "layers": 2, "width": 64, "patch_size": 16, "image_size": 64, "attentional_pool": True, "attn_pooler_heads": 4,
        "attn_pooler_queries": 8,
    },
    "average pooling without a class token": {
        "layers": 2, "width": 64, "patch_size": 16, "image_size": 64, "no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True,
    },
    "timm as SigLIP has it": {
        "timm_model_name": "vit_tiny_patch16_224", "timm_model_pretrained": False, "timm_pool": "map", "timm_proj": "none",
        "image_size": 224,
    },
    "timm convolutions": {
        "timm_model_name": "convnext_atto", "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear", "image_size": 64,
    },
}  # fmt: skip


@pytest.mark.parametrize("tower", list(TOWERS))
def test_towers_of_other_kinds_are_traced_alike(tmp_path: Path, tower: str) -> None:
    """The weights are random. The writer itself checks, for several batch sizes, that the traced model equals the original."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    from bioclip_core.classify import Classifier
    from bioclip_core.labels.label_set import in_memory
    from bioclip_core.labels.manifest import Block

    folder = tmp_path / "model"
    folder.mkdir()
    text = {"context_length": 8, "vocab_size": 100, "width": 16, "heads": 1, "layers": 1}
    dimension = 192 if tower == "timm as SigLIP has it" else 32
    config = {"embed_dim": dimension, "vision_cfg": TOWERS[tower], "text_cfg": text}
    described = {"model_cfg": config, "preprocess_cfg": {"resize_mode": "squash", "size": TOWERS[tower]["image_size"]}}
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    weights = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    request = ClassifyRequest(model=f"local-dir:{folder}", device="cpu", precision="fp32", labels=("a", "b", "c"))
    engine = Engine(request, create_plugin_manager(installed=False))
    rows = np.random.default_rng(0).normal(size=(3, dimension))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    taxa = [Taxon(common_name=letter) for letter in "abc"]
    blocks = [Block(0, 3, "text", 50.0)]
    engine.classifier = Classifier(in_memory(taxa, rows, engine.encoder.identity, blocks, custom=True))
    made = export_folder(engine.model, engine.encoder, engine.classifier, tmp_path / "OTHER")
    assert made.largest_difference < 0.001
    assert made.stored_as == "float32"
    said = inside(made.folder, [(scene(tmp_path / "a.png"), [WHOLE])])
    assert sum(said["results"][0][0].values()) == pytest.approx(1, abs=1e-4)


# -- the folder --------------------------------------------------------------------------------------------------------


def test_the_folder_contains_the_files_that_addaxai_needs(demo_folder: Path) -> None:
    assert sorted(file.name for file in demo_folder.iterdir()) == [
        "inference.py",
        "manifest.json",
        "model.pt",
        "taxonomy.csv",
    ]
    manifest = json.loads((demo_folder / "manifest.json").read_text("utf-8"))
    assert manifest["model_id"] == demo_folder.name == "DEMO-v1"
    for field in ("friendly_name", "env", "model_fname", "description", "developer", "info_url", "min_app_version"):
        assert isinstance(manifest[field], str)
    assert (manifest["env"], manifest["model_fname"], manifest["region"]) == ("pytorch", "model.pt", "global")
    with (demo_folder / "taxonomy.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["model_class", "class", "order", "family", "genus", "species"]
    assert len({row[0] for row in rows[1:]}) == len(rows) - 1 == 72
    assert all(cell == cell.lower() for row in rows for cell in row)
    assert all(row[0] == f"{row[4]} {row[5]}" for row in rows[1:])


def test_the_classes_of_the_table_are_those_that_it_answers_with(demo_folder: Path, tmp_path: Path) -> None:
    said = inside(demo_folder, [(scene(tmp_path / "a.png"), [WHOLE])])
    with (demo_folder / "taxonomy.csv").open(encoding="utf-8") as file:
        named = [row["model_class"] for row in csv.DictReader(file)]
    assert list(said["names"].values()) == named == list(said["results"][0][0])
    assert list(said["names"]) == [str(number) for number in range(1, 73)]


def test_inference_py_is_plain_python_3_8_and_has_every_method_that_addaxai_looks_for() -> None:
    text = (files("bioclip_plugin.formats.addaxai") / "inference.py").read_text("utf-8")
    tree = ast.parse(text, feature_version=(3, 8))
    model = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "ModelInference")
    methods = {node.name for node in model.body if isinstance(node, ast.FunctionDef)}
    assert {
        "check_gpu",
        "load_model",
        "get_crop",
        "get_tensor",
        "classify_batch",
        "get_classification",
        "get_class_names",
    } <= methods
    newer = {"removeprefix", "removesuffix", "pairwise", "with_stem", "bit_count", "is_relative_to"}
    assert not newer & {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "strict"]
    imported = {
        alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {(node.module or "").partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "io", "json", "math", "zipfile", "pathlib", "typing", "numpy", "PIL", "torch"}


def test_the_weights_use_only_operations_that_torch_2_0_has(demo_folder: Path) -> None:
    """AddaxAI 7's environment has torch 2.0.1, so the test checks operator names and the version of the file format."""
    import re
    import zipfile

    with zipfile.ZipFile(demo_folder / "model.pt") as weights:
        code = "".join(weights.read(name).decode() for name in weights.namelist() if name.endswith(".py"))
        versions = [int(weights.read(name)) for name in weights.namelist() if name.endswith("/version")]
    assert all(version <= 10 for version in versions)
    known = (
        "NumToTensor _convolution add cat clamp_min contiguous div expand expand_as gelu layer_norm linalg_vector_norm linear "
        "matmul mul permute reshape scaled_dot_product_attention select size slice squeeze sub softmax t to transpose unflatten "
        "unsqueeze view sigmoid numel"
    ).split()  # fmt: skip
    assert set(re.findall(r"(?:torch|ops\.\w+)\.(\w+)\(", code)) <= set(known)
    assert "torch.device(" not in code
    # Arguments that were added after 2.0 (scale, enable_gqa) are absent.
    assert all(call.count(",") == 2 for call in re.findall(r"scaled_dot_product_attention\(([^)]*)\)", code))


# -- names -------------------------------------------------------------------------------------------------------------


def test_names_are_unique_and_distinguished_by_the_differing_ancestor() -> None:
    taxa = [
        Taxon.of(("Animalia", "P", "C", "O", "Fa", "Oenanthe", "")),
        Taxon.of(("Plantae", "P", "C", "O", "Fp", "Oenanthe", "")),
        Taxon.of(("Animalia", "P", "Aves", "O", "F", "Larus", "argentatus")),
        Taxon.of(("Animalia", "P", "Aves", "O", "F", "Larus", "argentatus"), "again"),
        Taxon.of(("Plantae", "P", "C", "O", "F", "× Sorbaronia", "× fallax")),
        Taxon.of(("Animalia",)),
        Taxon(common_name="My\nOwn  Label"),
        Taxon(),
    ]
    names = class_names(taxa)
    assert names[:2] == ["oenanthe (fa, o, c, p, animalia)", "oenanthe (fp, o, c, p, plantae)"]
    assert names[2] != names[3]
    assert names[4:] == ["× sorbaronia × fallax", "animalia", "my own label", "unnamed"]
    assert len(set(names)) == len(names)


def test_a_name_that_is_made_unique_never_takes_anothers() -> None:
    words = ["a", "a", "a 2", "a"]
    assert len(set(class_names([Taxon(common_name=word) for word in words]))) == 4


def test_the_table_quotes_what_csv_would_misread() -> None:
    taxa = [Taxon(common_name='red, "big" thing')]
    rows = list(csv.reader(taxonomy_csv(class_names(taxa), taxa).splitlines()))
    assert rows[1] == ['red, "big" thing', "", "", "", "", ""]


# -- faults ------------------------------------------------------------------------------------------------------------


def test_an_existing_output_is_kept_without_force_and_never_replaced_if_it_is_not_an_export(
    demo_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(BioclipError, match="exists already: give another name, or --force"):
        export(demo_folder)
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("years of work")
    with pytest.raises(BioclipError, match="is not a model folder of AddaxAI"):
        export(other, force=True)
    assert (other / "chapter.txt").read_text() == "years of work"


def test_force_replaces_a_model_folder_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    made = export(tmp_path / "ONE", labels=("a", "b"))
    before = (made.folder / "taxonomy.csv").read_text()
    export(tmp_path / "ONE", labels=("a", "c"), force=True, name="Mine")
    assert (made.folder / "taxonomy.csv").read_text() != before
    assert json.loads((made.folder / "manifest.json").read_text())["friendly_name"] == "Mine"
    assert [file.name for file in tmp_path.iterdir()] == ["ONE"]


@pytest.mark.parametrize("name", ["my model", "å", ".hidden", "a:b"])
def test_a_folder_name_that_is_no_model_id_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="becomes the model's id"):
        export(tmp_path / name)


def test_a_failed_export_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bioclip_plugin.formats.addaxai.weights.TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="differs from the model itself"):
        export(tmp_path / "BAD")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_parent_folder_is_reported_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(BioclipError, match="does not exist: make it first"):
        export(tmp_path / "no" / "folder")


@pytest.mark.shared_data
def test_a_model_without_labels_and_labels_of_another_model_are_refused(tmp_path: Path) -> None:
    mini = f"local-dir:{Path(os.environ['BIOCLIP_DATA']).resolve() / 'models' / 'mini'}"
    with pytest.raises(LabelSetError, match="has no label set of its own"):
        export(tmp_path / "MINI", mini)
    demo_labels = str(files("bioclip_plugin") / "demo_model" / "label_set")
    with pytest.raises(LabelSetError, match="was made for demo"):
        export(tmp_path / "MINI", mini, labels=demo_labels)
    assert list(tmp_path.iterdir()) == []


def test_a_plugins_own_encoder_cannot_be_exported(tmp_path: Path) -> None:
    manager = create_plugin_manager(installed=False)
    manager.register(FakeModel())
    request = ClassifyRequest(model="fake", labels=("red", "blue"), device="cpu", precision="fp32")
    engine = Engine(request, manager)
    with pytest.raises(ModelError, match="only models that open_clip loads"):
        export_folder(engine.model, engine.encoder, engine.classifier, tmp_path / "FAKE")


def test_weights_of_another_kind_are_refused_by_name(demo_folder: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "DEMO-v1"
    shutil.copytree(demo_folder, folder)
    (folder / "model.pt").unlink()
    import torch

    torch.save({}, folder / "model.pt")
    with pytest.raises(AssertionError, match=r"lacks settings\.json"):
        answers_of(folder, [])


def test_the_command_reports_its_output_and_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["models", "export", "--format", "addaxai", "--model", "demo", "--output", "DEMO-v2", "--name", "Demo"]
    assert run(command) == 0
    said = capsys.readouterr().out
    assert "DEMO-v2: 72 classes, 5." in said
    assert "weights in float16" in said
    assert "copy the folder to AddaxAI/models/cls/DEMO-v2" in said
    assert run(command) == 1
    assert "--force" in capsys.readouterr().err
    assert run([*command, "--force"]) == 0
    assert run(["models", "export", "--format", "onnx", "--output", "X"]) == 2
