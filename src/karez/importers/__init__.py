"""From files and seeds to a twin: each importer returns a sound twin and tells every row that is not in it."""
