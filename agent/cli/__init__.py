"""The command line: one module for each family, thin over the HTTP API. `main.main` is the entry point.

A command is a function `(flags) -> exit code` registered with `@command`; its flags and help come from the same place.
Modules are imported only when their command runs, so that short commands start fast.
"""
