"""One module per verb. Each has a click command named `command`, and is imported when the verb is called."""
