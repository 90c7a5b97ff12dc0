"""The papers of a release, for a review: what its archives hold, as tables and as an SBOM."""
