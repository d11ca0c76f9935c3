"""A model and a label set as a folder that AddaxAI 7 takes as a species model; it needs no open_clip and nothing of ours."""
