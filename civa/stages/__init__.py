"""One small script per stage: load, call the concept modules, save."""
