"""Image references, image names below the registry prefix, digests and media types."""
