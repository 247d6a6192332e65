"""The command line: one module for each family, thin over the HTTP API. `main.main` is the entry point.

A command is a function `(flags) -> exit code`; `tables/` names it and says which flags it takes and what `-h` tells.
Modules are imported only when their command runs, so that short commands start fast.
"""
