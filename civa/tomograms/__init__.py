"""Whole tomograms: opened without being read, matched to names, and boxes cut from them."""
