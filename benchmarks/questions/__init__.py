"""Experiments on the papers' questions, with small models on the biosphere, whose truth is known. Timings are in ``bench_*.py``."""
