"""Situations that are drawn, played and scored: incidents in a network, and what the loop made of them."""
