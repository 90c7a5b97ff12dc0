"""The two artifacts, read as streams: images.tar.gz and charms.tar.gz."""
