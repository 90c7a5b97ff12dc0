"""Deletes images that no kept archive contains from the registry."""
