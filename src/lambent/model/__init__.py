"""Nouns and rules of the domain; no I/O, no asyncio."""
