"""Request log and, later, metrics; listens through an observer."""
