"""From an accepted call to its outcome."""
