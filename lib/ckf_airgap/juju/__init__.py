"""Juju, through the juju client: models, controllers, names, Juju's own images."""
