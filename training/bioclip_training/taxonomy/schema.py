"""Tables of a taxonomy file, and the numbers that identify such a file and its version."""

APPLICATION_ID = 0x42544158  # "BTAX" at byte 68 of the file, so that any tool can tell what it is
FORMAT = 1
"""Version of these tables; a file with another version must be built again."""

TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE names (
    id TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL, authorship TEXT NOT NULL, rank TEXT NOT NULL, status TEXT NOT NULL,
    accepted TEXT NOT NULL, parent TEXT NOT NULL, lineage INTEGER, vernacular TEXT NOT NULL);
CREATE TABLE lineages (number INTEGER PRIMARY KEY, kingdom TEXT, phylum TEXT, class TEXT, "order" TEXT, family TEXT, genus TEXT);
CREATE TABLE vernaculars (id TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE words (
    first TEXT NOT NULL, length INTEGER NOT NULL, word TEXT NOT NULL, letters INTEGER NOT NULL, PRIMARY KEY (first, length, word))
    WITHOUT ROWID;
"""

# Made after the load: an index that grows with its table takes several times as long.
INDEXES = """
CREATE INDEX names_by_key ON names (key);
CREATE INDEX names_by_id ON names (id);
CREATE INDEX lineages_by_path ON lineages (kingdom, phylum, class, "order", family, genus);
"""
