"""The configuration by which container runtimes find images by original names in the registry."""
