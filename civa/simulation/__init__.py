"""Structures, tilt series and whole boxes (Sec. 5.1)."""
