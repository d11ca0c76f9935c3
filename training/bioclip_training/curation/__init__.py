"""Curation: published collections on disk to one catalog of the tree of life and its shards, in stages that go on where they stopped."""
