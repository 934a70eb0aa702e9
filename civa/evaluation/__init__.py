"""Scores, choices on validation, baselines, and the quality ledger (Sec. 5.2, 5.3)."""
