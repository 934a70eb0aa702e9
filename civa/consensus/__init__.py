"""CIVA-Consensus: alignment, averages, and masks from them."""
