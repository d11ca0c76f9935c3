"""Runtimes of the image tower beside torch itself: OpenVINO in fp32, bf16 and int8, and the int8 models in the cache."""
