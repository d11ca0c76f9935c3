"""Label sets: opened, built, merged, made of prototypes, and searched by name."""
