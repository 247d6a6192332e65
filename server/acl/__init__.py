"""Tokens: from a secret to what its bearer may do."""
