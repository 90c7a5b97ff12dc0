"""Plans and carries out the steps of an upgrade from one release to the next."""
