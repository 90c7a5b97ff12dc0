"""Deploy Charmed Kubeflow on a Kubernetes that cannot reach the internet.

Data flows one way: the two artifacts (``artifacts``, ``charm_file``) give an inventory of images
and the needs of the charms; ``planning`` resolves one against the other; ``registry`` and ``juju``
carry the plan out; ``cluster`` verifies the result. ``packing`` makes the artifacts, outside.
"""

__version__ = "0.1.0"
"""The version of the charm and of the command, which Juju's status and servers see, too."""
