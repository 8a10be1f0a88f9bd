"""One file per component: loops only, no rules."""
