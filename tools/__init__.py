"""What builds the project, beside the product."""
