"""Commands around training: catalogs, shards, taxonomies, prototypes, train, evaluate, calibrate."""
