"""Questions: pure functions of a twin. They read no file and no clock, and start no thread."""
