"""From one release to the next: which steps it takes, in which order, and taking them."""
