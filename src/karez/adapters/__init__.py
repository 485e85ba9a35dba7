"""Networks behind one narrow interface, and the guard that owns the only way to change them."""
