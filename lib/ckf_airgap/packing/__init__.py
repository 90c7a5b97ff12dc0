"""Makes images.tar.gz and charms.tar.gz on a machine with internet access."""
