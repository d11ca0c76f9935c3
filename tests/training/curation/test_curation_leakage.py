"""Stage ``leakage``: planted leaks of each kind, what is not one, and the report that goes with the shards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from catalog_samples import picture
from imaging_samples import encoded, given_labels, given_records, label, put, record
from PIL import Image, ImageEnhance
from pyarrow import parquet

from bioclip_core.errors import SourceError, UsageError
from bioclip_training.curation.configuration import Curation, EvaluationSetConfig, SourceConfig
from bioclip_training.curation.imaging import evaluation_items
from bioclip_training.curation.imaging.images import ImagesStage
from bioclip_training.curation.imaging.leak_report import read_leak_report
from bioclip_training.curation.imaging.leakage import LeakageStage
from bioclip_training.curation.running import run_stages
from bioclip_training.published.layout import Recognition
from bioclip_training.published.records import SOURCE_RECORDS

LYNX = {"kingdom": "Animalia", "genus": "Lynx", "species": "fictus"}


class Listed:
    """A layout that gives the records of ``items.json``."""

    name = "listed"
    options = ()

    def read(self, path: Path, options: Any) -> Iterator[pa.RecordBatch]:
        rows = json.loads((path / "items.json").read_text())
        full = [{**record("", "", ""), "record_id": row["uri"] or row["url"], **row} for row in rows]
        yield pa.RecordBatch.from_pylist(
            [{name: row[name] for name in SOURCE_RECORDS.names} for row in full], SOURCE_RECORDS
        )


@pytest.fixture(autouse=True)
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Recognition(layout="listed", taken=(("items.json", "items"),), confidence="it has items.json")
    monkeypatch.setattr(evaluation_items, "recognise", lambda path, name: (Listed(), found))


class Setting:
    """Training records of sources, and evaluation sets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: dict[str, dict[str, Any]] = {}
        self.labels: list[dict[str, Any]] = []
        self.items: dict[str, list[dict[str, Any]]] = {}

    def train(self, name: str, image: bytes, label_name: str = "Canis fictus", **cells: Any) -> None:
        uri = cells.pop("uri", f"{name}.png")
        put(self.folder / "sources" / name[0] / uri, image)
        self.records[name] = record(name[0], name, uri, layout=cells.pop("layout", "eol"), **cells)
        self.labels.append(label(self.records[name], label_name))

    def hold(self, set_name: str, uri: str, image: bytes, **cells: Any) -> None:
        put(self.folder / set_name / uri, image)
        self.items.setdefault(set_name, []).append({"uri": uri, "url": "", **cells})

    def config(self, **sets: Mapping[str, Any]) -> Curation:
        for name, items in self.items.items():
            (self.folder / name / "items.json").write_text(json.dumps(items))
        sources = {name[0]: SourceConfig(self.folder / "sources" / name[0]) for name in self.records}
        named = {name: EvaluationSetConfig(self.folder / name, **sets.get(name, {})) for name in self.items}
        return Curation(self.folder / "out", sources, evaluation_sets=named)

    def stages(self) -> list[Any]:
        return [given_records(*self.records.values()), ImagesStage(), given_labels(*self.labels), LeakageStage()]

    def leaks(self, **sets: Mapping[str, Any]) -> set[tuple[str, str, str, str]]:
        """Return record, evaluation set, kind and item of all leaks."""
        config = self.config(**sets)
        run_stages(config, self.stages())
        names = {row["key"]: name for name, row in self.records.items()}
        [part] = (config.output / "leakage").glob("part-*.parquet")
        rows = parquet.read_table(part).to_pylist()
        return {(names[row["key"]], row["evaluation_set"], row["kind"], row["evaluation_item"]) for row in rows}


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def test_equal_and_near_images_leak_whatever_their_labels(setting: Setting) -> None:
    image = picture(1, (320, 240))
    margin = image.crop((10, 8, 310, 232))
    setting.hold("rare", "x.png", encoded(image), **LYNX)
    setting.hold("other", "y.png", encoded(picture(9)))
    setting.train("a-equal", encoded(image))
    setting.train("a-small", encoded(image.resize((160, 120)), "JPEG", quality=60), uri="small.jpg")
    setting.train("a-crop", encoded(margin, "WEBP"), uri="crop.webp")
    setting.train("a-bright", encoded(ImageEnhance.Brightness(image).enhance(1.15), "JPEG"), uri="bright.jpg")
    setting.train("a-different", encoded(picture(2, (320, 240))))
    half = encoded(image.crop((160, 0, 320, 240)))
    setting.train("a-half", half, published_original_md5=hashlib.md5(encoded(image)).hexdigest(), uri="half.png")
    near = {(f"a-{name}", "rare", "near", "x.png") for name in ("small", "crop", "bright")}
    assert setting.leaks() == near | {(name, "rare", "image", "x.png") for name in ("a-equal", "a-half")}


def test_a_copy_of_which_the_evaluation_set_has_the_cropped_one_leaks_too(setting: Setting) -> None:
    image = picture(1, (320, 240))
    setting.hold("rare", "x.jpg", encoded(image.crop((10, 8, 310, 232)), "JPEG"))
    setting.train("a1", encoded(image))
    assert setting.leaks() == {("a1", "rare", "near", "x.jpg")}


def test_images_of_one_observation_leak_by_their_ids(setting: Setting) -> None:
    def blotch(seed: int) -> bytes:
        return encoded(picture(seed, (24, 20)))

    setting.hold("rare", "29684007_46559951_eol-full-size-copy.jpg", blotch(1))
    setting.hold("rare", "o.png", blotch(2), observation_id="URN:Catalog:X:1", layout="")
    setting.hold("rare", "i.png", blotch(3), observation_id="https://www.inaturalist.org/observations/77")
    setting.hold("rare", "p.png", blotch(4), url="https://inaturalist-open-data.s3.amazonaws.com/photos/5/original.jpg")
    setting.hold("rare", "n.png", blotch(5), observation_id="123")
    setting.hold("rare", "e.png", blotch(6), event_id="1")
    setting.train("a1", blotch(11), eol_content_id="29684007")
    setting.train("a2", blotch(12), observation_id="urn:catalog:x:1 ")
    setting.train("a3", blotch(13), observation_id="http://inaturalist.org/observations/77/")
    setting.train("a4", blotch(14), url="https://static.inaturalist.org/photos/5/medium.jpg")
    setting.train("a5", blotch(15), observation_id="123", layout="gbif")  # a number of another counter
    setting.train("a6", blotch(16), event_id="1")
    assert setting.leaks() == {
        ("a1", "rare", "observation", "29684007_46559951_eol-full-size-copy.jpg"), ("a2", "rare", "observation", "o.png"),
        ("a3", "rare", "observation", "i.png"), ("a4", "rare", "observation", "p.png"),
    }  # fmt: skip


def test_plain_numbers_count_within_one_kind_of_source_and_file_names_where_it_is_stated(setting: Setting) -> None:
    setting.hold("rare", "d/AB12.jpg", encoded(picture(1)), observation_id="123")
    setting.train("a1", encoded(picture(2)), observation_id="123", layout="listed-parquet")
    setting.train("b1", encoded(picture(3)), uri="other/ab12.png")
    assert setting.leaks() == {("a1", "rare", "observation", "d/AB12.jpg")}
    assert setting.leaks(rare={"file_names": True}) == {
        ("a1", "rare", "observation", "d/AB12.jpg"), ("b1", "rare", "observation", "d/AB12.jpg"),
    }  # fmt: skip


def test_records_of_a_species_of_the_set_leak_by_taxon_and_homonyms_do_not(setting: Setting) -> None:
    setting.hold("rare", "x.png", encoded(picture(1)), **LYNX)
    setting.hold("rare", "w.png", encoded(picture(2)), **LYNX)
    setting.hold("rare", "g.png", encoded(picture(3)), kingdom="Animalia", genus="Canis")
    setting.train("a1", encoded(picture(4)), "Lynx fictus")
    setting.train("a2", encoded(picture(5)), "Lynx")
    setting.train("a3", encoded(picture(6)), "Canis fictus")
    setting.train("a4", encoded(picture(7)), "Lynx fictus")
    setting.labels[-1]["kingdom"] = "Plantae"
    assert setting.leaks() == {("a1", "rare", "taxon", "w.png")}  # one row per record and kind, with the first item
    report = read_leak_report(setting.folder / "out")["evaluation_sets"]["rare"]
    assert report == {
        "suite": "", "layout": "", "taxa": "report", "items": 3, "readable_images": 3, "unreadable_images": 0, "items_with_species": 2,
        "leaks": {
            "taxon": {
                "records": 1, "items": 1, "excluded": False, "examples": [{"source": "a", "record": "a1", "item": "w.png"}],
            }
        },
    }  # fmt: skip
    setting.leaks(rare={"taxa": "exclude"})
    assert read_leak_report(setting.folder / "out")["evaluation_sets"]["rare"]["leaks"]["taxon"]["excluded"] is True
    page = (setting.folder / "out/leakage/leakage.html").read_text()
    assert "an image of one species</td><td" in page
    assert "left out of training" in page


def test_a_set_that_cannot_be_read_is_named_and_unreadable_images_are_said(setting: Setting) -> None:
    setting.train("a1", encoded(picture(1)))
    setting.hold("rare", "x.png", b"no image")
    assert setting.leaks() == set()
    assert read_leak_report(setting.folder / "out")["evaluation_sets"]["rare"]["unreadable_images"] == 1
    assert "1 images of it cannot be read" in (setting.folder / "out/leakage/leakage.html").read_text()
    setting.items["rare"].clear()
    with pytest.raises(SourceError, match=r"evaluation set rare: .* has no item in the layout listed"):
        setting.leaks()


def test_a_set_is_read_as_its_suite_reads_it(setting: Setting) -> None:
    setting.hold("rare_species", "d/29684007_46559951_eol-full-size-copy.jpg", encoded(picture(1)))
    setting.train("a1", encoded(picture(1)))
    setting.train("a2", encoded(picture(2)), "Sphyrna tiburo")
    setting.train("a3", encoded(picture(3)), eol_content_id="29684007")
    folder = setting.folder / "rare_species"
    cells = "Animalia,Chordata,Chondrichthyes,Carcharhiniformes,Sphyrnidae,Sphyrna,tiburo,bonnethead"
    (folder / "metadata.csv").write_text(
        ",kingdom,phylum,cls,order,family,genus,species,common_name,filepath,class\n"
        f"1,{cells},d/29684007_46559951_eol-full-size-copy.jpg,Sphyrna tiburo\n"
    )
    item = "d/29684007_46559951_eol-full-size-copy.jpg"
    assert setting.leaks(rare_species={"suite": "rare-species"}) == {
        ("a1", "rare_species", "image", item), ("a2", "rare_species", "taxon", item), ("a3", "rare_species", "observation", item),
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"evaluation set rare_species: suite bioclip is several sets \(birds-525, "):
        setting.leaks(rare_species={"suite": "bioclip"})


def test_a_set_that_is_a_source_is_named(setting: Setting) -> None:
    image = encoded(picture(1))
    setting.hold("sources/a", "x.png", image)
    setting.train("a1", image)
    config = setting.config()
    config = replace(config, evaluation_sets={"rare": EvaluationSetConfig(setting.folder / "sources/a")})
    notes = run_stages(config, setting.stages())[-1].manifest.notes
    assert "evaluation set rare is the folder or file of the source a, so that all of its images leak" in notes


def test_without_evaluation_sets_nothing_is_compared_and_that_is_said(setting: Setting) -> None:
    setting.train("a1", encoded(Image.new("RGB", (20, 20))))
    assert setting.leaks() == set()
    assert read_leak_report(setting.folder / "out")["evaluation_sets"] == {}
    assert "nothing was compared" in (setting.folder / "out/leakage/leakage.html").read_text()


def test_a_curation_without_a_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="leakage"):
        read_leak_report(tmp_path)
