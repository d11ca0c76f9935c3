"""AddaxAI 7 model folders: a model and a label set that run there without open_clip and without this package."""
