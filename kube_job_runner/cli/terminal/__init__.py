"""Output on a terminal: text, tables, live views."""
