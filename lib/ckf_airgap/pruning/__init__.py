"""Deletes from the registry the images that no kept archive contains."""
