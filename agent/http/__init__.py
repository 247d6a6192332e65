"""The HTTP API: one route table, one module of handlers for each family. See `routing` for how a handler looks."""
