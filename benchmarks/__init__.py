"""Benchmarks: CPU time, disk and memory beside a counterpart in the same run; see docs/benchmarks.md.

`./dev bench NAME` runs one module's `run` and prints its table; `measure`, `http_load` and `clusters` serve them all.
"""
