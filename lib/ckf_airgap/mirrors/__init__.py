"""The configuration by which container runtimes find original image names in the registry."""
