"""Measurements, apart from the tests: each prints ratios between ways of doing a thing."""
