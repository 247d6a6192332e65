"""Each kind of check against a real counterpart over real sockets."""
