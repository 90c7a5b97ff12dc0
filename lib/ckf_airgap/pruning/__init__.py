"""Removes from the registry what no kept archive names."""
