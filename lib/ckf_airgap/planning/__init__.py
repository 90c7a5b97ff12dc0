"""The plan: from the charms and the archive of images to applications, relations and a bundle."""
