"""The registry: its HTTP API (OCI Distribution Specification v1.1), and its errors."""
