"""The papers' questions as experiments: small models on the biosphere, where truth is known. Not timings: those are ``bench_*.py``."""
