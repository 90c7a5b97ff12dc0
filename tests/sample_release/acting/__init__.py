"""What the stand-ins do that are not idle: each module is packed as the ``dispatch`` of a charm.

It runs in the charm's container, with nothing but Python's own library and Juju's hook tools.
"""
