"""What the testbed is made of: one place for every version."""

KUBERNETES = "v1.33.13"
ETCD = "v3.6.16"
COREDNS = "v1.15.0"
# Juju 4.1-beta2. A 3.6 controller would need MongoDB, which no package here provides.
JUJU = "v0.0.0-20260713142945-570e41eadd7e"
JUJU_AGENT = "4.1-beta2"
# The client of Juju 3.6, which the functional tests run against a stand-in of its controller.
JUJU_3 = "v0.0.0-20260624121659-3cabf69373cf"
JUJU_3_CLIENT = "3.6.25"
# What checks the Terraform module, and what its stand-in of the Juju provider is made with.
OPENTOFU = "v1.12.6"
TERRAFORM_PLUGIN = "v0.31.0"
# The collector that takes the charm's traces; its configuration has versions of its own.
COLLECTOR = "v0.165.0"
COLLECTOR_CONFIGURATION = "v1.71.0"
CHARMCRAFT = "4.5.0"
# The registries that the functional tests know beside Debian's docker-registry 2.8.
DISTRIBUTION = "v3.1.2"
CRANE = "v0.22.1"
# What describes the packages in images, for a thorough test.
SYFT = "v1.57.1"
# The base of the containers that charms run in, and the newer one that the controller is built on:
# dqlite wants a newer C library than the first has, and is itself found in the third.
DEBIAN = "bookworm"
DEBIAN_OF_DQLITE_BUILD = "trixie"
DEBIAN_OF_DQLITE = "sid"
# What the container base stands for: charms and charmcraft look at the name in os-release.
CHARM_BASE = "24.04"
# Raise it when what is built changes although no version does.
RECIPE = "1"
