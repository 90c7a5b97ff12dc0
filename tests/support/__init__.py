"""Archives of images in the forms that tools write; made without the project's own code."""
