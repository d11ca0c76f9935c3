"""iNat21: COCO JSON and folders of classes."""

from __future__ import annotations

from bioclip_training.biosphere.publishing.formats.target import Target, rows_of
from bioclip_training.biosphere.publishing.plan import Record, Unit


def write(target: Target) -> None:
    """Write ``train.json`` and ``train/CLASS/UUID.jpg``."""
    records = target.plan.of("inat21")
    for record in records:
        assert record.unit is not None
        record.identifier = target.plan.uuid("inat21", record.number)
        name = f"train/{_folder(record.unit)}/{record.identifier}{target.suffix(record.picture)}"
        target.image(record, name)
    listed = rows_of(records)
    target.document(
        "train.json",
        {
            "info": {"description": "invented"},
            "images": [_image(target, record) for record in listed],
            "annotations": [
                {"id": place, "image_id": record.number, "category_id": record.unit.number}
                for place, record in enumerate(listed)
                if record.unit is not None
            ],
            "categories": [_category(unit) for unit in target.plan.units_of("inat21")],
            "licenses": [{"id": 0, "name": "CC BY-NC 4.0", "url": "https://creativecommons.org/licenses/by-nc/4.0/"}],
        },
    )


def _folder(unit: Unit) -> str:
    said = unit.statement
    epithet = said.epithet.removeprefix(f"{said.ranks[5]} ").replace("× ", "").strip()
    return "_".join((f"{unit.number:05d}", *said.ranks, epithet.replace(" ", "-")))


def _image(target: Target, record: Record) -> dict[str, object]:
    width, height = target.plan.pictures[record.picture].size
    return {
        "id": record.number, "width": width, "height": height, "file_name": record.uri, "license": 0,
        "rights_holder": f"observer {record.number % 97}", "date": f"{target.plan.taken_at(target.plan.original(record))}+00:00",
        "latitude": round(40 + record.number % 100 / 10, 2), "longitude": round(-80 + record.number % 70, 2),
        "location_uncertainty": 10,
    }  # fmt: skip


def _category(unit: Unit) -> dict[str, object]:
    said = unit.statement
    cells = dict(zip(("kingdom", "phylum", "class", "order", "family", "genus"), said.ranks, strict=True))
    return {
        "id": unit.number, "name": said.name, "common_name": said.common, "supercategory": said.ranks[0], **cells,
        "specific_epithet": said.epithet, "image_dir_name": _folder(unit),
    }  # fmt: skip
