"""The plain export of a store: one joined query by SQLAlchemy, written to CSV row by row; run in its own process.

python -m benchmarks.export_peer STORE.db OUTPUT.csv
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import sqlalchemy as sa

_QUERY = """
SELECT m.uri, r.x, r.y, r.w, r.h, c.position, c.probability, t.kingdom, t.phylum, t.class, t."order", t.family, t.genus, t.species
FROM bioclip_regions r JOIN bioclip_media m ON m.id = r.media JOIN bioclip_candidates c ON c.region = r.id
JOIN bioclip_taxa t ON t.id = c.taxon WHERE c.rank = 6 ORDER BY m.id, r.id, c.position
"""


def main(store: str, output: str) -> None:
    engine = sa.create_engine(f"sqlite:///{store}")
    with engine.connect() as connection, Path(output).open("w", newline="", encoding="utf-8") as file:
        rows = connection.execute(sa.text(_QUERY))
        writer = csv.DictWriter(file, list(rows.keys()))
        writer.writeheader()
        for row in rows.mappings():
            writer.writerow(dict(row))


if __name__ == "__main__":
    main(*sys.argv[1:])
