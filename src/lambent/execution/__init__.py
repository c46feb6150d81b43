"""Execution environments: processes, their runtimes and their logs."""
