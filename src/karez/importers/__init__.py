"""From files and seeds to a twin: each importer is one function that returns a whole twin or every problem."""
