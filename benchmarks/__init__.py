"""Benchmarks beside pybioclip, the parity check, and the table that they write; never in the wheel."""
