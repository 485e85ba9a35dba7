"""Karez."""
