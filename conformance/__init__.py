"""Programs of many clients, one script, one table: see README.md."""
