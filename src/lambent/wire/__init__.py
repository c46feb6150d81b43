"""Bytes of the protocols; no I/O."""
