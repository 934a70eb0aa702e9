"""Configuration, runs, provenance, and jobs."""
