"""Covering programs: which sites to choose so that weight is reached; reduced, solved and bounded for any network."""
