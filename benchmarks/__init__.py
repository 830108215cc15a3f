"""Measurements: `python -m benchmarks [suite…]`. Medians of several runs in one process, and ratios between them.

No test asserts a time; this is where times are. Everything here runs on what the package ships.
"""
