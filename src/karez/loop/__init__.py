"""The loop: the only part that acts, one turn at a time, and only on a plan."""
