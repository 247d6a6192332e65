"""Access control: who a token is and what it may do."""
