"""Lists of particles that other programs wrote: one file per family, one frame for all."""
