"""Files on disk, and documents of unknown origin."""
