"""Deploys Charmed Kubeflow on a Kubernetes cluster that cannot reach the internet.

Data flows one way: ``archives`` reads the images of images.tar.gz, and ``charms`` the images that
the charms in charms.tar.gz need. ``planning`` finds each needed image among the archived ones.
``push`` sends the images to the registry (``registry``). ``deployment`` carries out the plan with
``juju``, and verifies the result with ``kubernetes``. ``packing`` makes both archives, outside the
air gap.
"""

__version__ = "0.1.0"
"""The version of the charm and of the command. Juju's status shows it; requests to servers name it
as their ``User-Agent``.
"""
