"""Upgrades from one release to the next: planning the steps, and carrying them out."""
