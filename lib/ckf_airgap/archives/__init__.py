"""The two artifacts, images.tar.gz and charms.tar.gz, read as streams."""
