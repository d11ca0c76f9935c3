"""Search over stored features: by an image, an item of the store, a name, or words."""
