"""One ``.charm`` file: its documents, images, versions, and what it requires of Juju."""
