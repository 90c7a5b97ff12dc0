"""From what the charms need and what the archive holds to a plan, and to its bundle."""
