"""Pushes images.tar.gz into the registry, as a stream."""
