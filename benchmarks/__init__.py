"""Benchmarks: ``python -m benchmarks`` prints a table. Never part of the tests."""
