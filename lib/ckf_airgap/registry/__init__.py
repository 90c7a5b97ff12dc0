"""The registry: the distribution API, and the push of images.tar.gz into it."""
