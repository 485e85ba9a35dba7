"""Every job on a chip, in a place, from an hour on: the national program, its bound and prices, and whole plans."""
