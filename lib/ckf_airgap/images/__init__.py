"""Image references, the names of images below the registry prefix, digests and media types."""
