"""LILA: camera-trap images by place, with COCO Camera Traps JSON, whose categories are common names for the most part."""

from __future__ import annotations

from bioclip_training.biosphere.publishing.formats.target import Target, rows_of

_PER_SEQUENCE, _PLACES = 3, 12


def write(target: Target) -> None:
    """Write ``lila.json`` and ``locNN/imgNNNNN.jpg``."""
    records = target.plan.of("lila")
    categories = {"empty": 0}
    for unit in target.plan.units_of("lila"):
        categories.setdefault(unit.statement.name, len(categories))
    for record in records:
        record.identifier = f"frame{record.number:05d}"
        place = record.number // _PER_SEQUENCE % _PLACES
        target.image(record, f"loc{place:02d}/{record.identifier}{target.suffix(record.picture)}")
    listed = rows_of(records)
    target.document(
        "lila.json",
        {
            "info": {"version": "1.0", "description": "invented"},
            "images": [
                {
                    "id": record.identifier, "file_name": record.uri, "location": record.uri.partition("/")[0],
                    "seq_id": f"seq{record.number // _PER_SEQUENCE:05d}",
                    "datetime": str(target.plan.taken_at(target.plan.original(record))),
                    "width": target.plan.pictures[record.picture].size[0], "height": target.plan.pictures[record.picture].size[1],
                }
                for record in listed
            ],
            "annotations": [
                {
                    "id": f"a{record.number:05d}", "image_id": record.identifier,
                    "category_id": categories[record.unit.statement.name] if record.unit is not None else 0,
                }
                for record in listed
            ],
            "categories": [{"id": number, "name": name} for name, number in categories.items()],
        },
    )  # fmt: skip
