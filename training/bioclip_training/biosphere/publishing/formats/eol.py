"""EOL: images in tars by content and page, ``taxon.tab`` with chains of parents, and vernacular names."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator

from bioclip_training.biosphere.publishing.formats.evaluation_ids import content_id, page_id
from bioclip_training.biosphere.publishing.formats.target import Target
from bioclip_training.biosphere.publishing.plan import RARE, Plan, Record, Unit

_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")
_HEADER = (
    "taxonID", "source", "furtherInformationURL", "acceptedNameUsageID", "parentNameUsageID", "scientificName", "taxonRank",
    "taxonomicStatus", "datasetID", "canonicalName", "eolID",
)  # fmt: skip
_VERNACULAR = (
    "page_id", "canonical_form", "vernacular_string", "language_code", "resource_name", "is_preferred_by_resource", "is_preferred_by_eol",
)  # fmt: skip
_FIRST_PAGE, _FIRST_CONTENT, _FIRST_NODE = 45_100_000, 30_000_000, 900_000
_PER_TAR = 1000


def write(target: Target) -> None:
    """Write ``image_set_NN.tar.gz``, ``taxon.tab`` and ``vernacularnames.csv``."""
    records = target.plan.of("eol")
    for at in range(0, len(records), _PER_TAR):
        name = f"image_set_{at // _PER_TAR + 1:02d}.tar.gz"
        target.write(name, _tar(target, records[at : at + _PER_TAR], name))
    unlisted = {record.unit.number for record in records if record.state == "unlisted" and record.unit is not None}
    units = [unit for unit in target.plan.units_of("eol") if unit.number not in unlisted]
    target.table("taxon.tab", _HEADER, _taxa(target.plan, units), separator="\t")
    target.table("vernacularnames.csv", _VERNACULAR, _vernaculars(target.plan, units))


def _tar(target: Target, records: list[Record], name: str) -> bytes:
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, compresslevel=1, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for record in records:
            content = target.content(record)
            assert content is not None
            member = tarfile.TarInfo(_file_name(target, record))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            record.uri = f"{name}#{member.name}"
            record.identifier = member.name
    return buffer.getvalue()


def _file_name(target: Target, record: Record) -> str:
    assert record.unit is not None
    content = _FIRST_CONTENT + record.number
    if record.shares >= 0:
        content = content_id(target.plan.items_of(RARE)[record.shares])
    return f"{content}_{_page(record.unit)}_eol-full-size-copy{target.suffix(record.picture)}"


def _page(unit: Unit) -> int:
    return _FIRST_PAGE + unit.number


def _taxa(plan: Plan, units: list[Unit]) -> Iterator[tuple[object, ...]]:
    """Yield the nodes above the pages, each distinct chain once, and the pages; those of the unseen set too."""
    nodes: dict[tuple[str, ...], str] = {}

    def node(chain: tuple[str, ...]) -> Iterator[tuple[object, ...]]:
        for depth in range(1, len(chain) + 1):
            part = chain[:depth]
            if not part[-1] or part in nodes:
                continue
            parent = next((nodes[part[:up]] for up in range(depth - 1, 0, -1) if part[:up] in nodes), "")
            nodes[part] = f"EOL-{_FIRST_NODE + len(nodes)}"
            number = nodes[part].removeprefix("EOL-")
            yield nodes[part], "dh", "", "", parent, part[-1], _RANKS[depth - 1], "accepted", "dh", part[-1], number

    for unit in units:
        said = unit.statement
        chain = tuple(said.ranks) if said.epithet or said.rank != "genus" else tuple(said.ranks[:5])
        yield from node(chain)
        parent = next((nodes[chain[:up]] for up in range(len(chain), 0, -1) if chain[:up] in nodes), "")
        canonical = said.binomial if unit.number % 2 and said.rank == "species" else ""
        page = _page(unit)
        yield f"EOL-{page}", "dh", "", "", parent, said.name, said.rank, "accepted", "dh", canonical, page
    for one in plan.tree.species:
        if one.is_unseen:
            yield from node(one.higher)
            page = page_id(one.number)
            yield (
                f"EOL-{page}", "dh", "", "", nodes[one.higher], f"{one.binomial} {one.authorship.written()}", "species", "accepted", "dh",
                one.binomial, page,
            )  # fmt: skip


def _vernaculars(plan: Plan, units: list[Unit]) -> Iterator[tuple[object, ...]]:
    for unit in units:
        said, one = unit.statement, plan.tree.species[unit.species]
        if said.common:
            language = "" if said.language == "de" else "eng"
            yield _page(unit), said.binomial, said.common, language, "invented", "true", "true"
        if one.german and said.language != "de":
            yield _page(unit), said.binomial, one.german, "deu", "invented", "true", "false"
