"""The pure core: words, rules and decisions. No I/O, no event loop, no clock (`now` is an argument)."""
