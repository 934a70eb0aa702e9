"""Files: volumes, particle tables, and what is read from and written to disk."""
