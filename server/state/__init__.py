"""The replicated tables. Only `server.fsm` writes them; endpoints read them within one turn of the event loop."""
