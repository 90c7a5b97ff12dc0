"""The report on a release, for a review: the content of its archives as tables and as an SBOM."""
