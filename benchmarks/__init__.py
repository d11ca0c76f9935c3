"""Benchmarks beside pybioclip, the parity check, and the page of results. They are not in the wheel."""
