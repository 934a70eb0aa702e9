"""The training loop, its checkpoints, and weights on disk (Sec. 4.5)."""
