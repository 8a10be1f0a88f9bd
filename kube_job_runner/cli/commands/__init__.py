"""One module per command; each has a click command named `command`. They are imported when they are called."""
