"""Plans applications, relations and a bundle from the charms and the archive of images."""
