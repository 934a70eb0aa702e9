"""Figures (Sec. 5.6)."""
