"""Benchmarks: CPU time for each operation, beside a counterpart in the same run. `./dev bench` prints the table."""
