"""Tests in a real network on this machine; skipped where it cannot be made."""
