"""A real network on this machine: routers in namespaces, joined by a wire that can fail in every way."""
