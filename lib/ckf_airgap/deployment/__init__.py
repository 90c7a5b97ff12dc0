"""Checks, deploys, upgrades and verifies a release."""
