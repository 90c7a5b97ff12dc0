"""Making images.tar.gz and charms.tar.gz, where the internet is."""
