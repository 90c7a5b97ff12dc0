"""Accounts of registries: user names and passwords, and where skopeo and docker store them."""
