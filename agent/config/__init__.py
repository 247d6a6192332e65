"""Files, flags and environment become one immutable `Config` (`load.load_config`)."""
