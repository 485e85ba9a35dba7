"""Where people and programs meet Karez: each face offers every operation and knows none of them by name."""
