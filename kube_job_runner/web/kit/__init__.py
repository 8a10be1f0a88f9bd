"""The kit: typed routes on Starlette and msgspec, problems (RFC 9457) and OpenAPI 3.1, from one declaration each.

This is the only framework code of the product; `docs/adr/0005-starlette-and-a-kit-of-our-own.md` says why it exists.
A handler is an async function `(Call[Path, Query, Body]) -> Reply[Answer]`; an `Operation` puts it under a method and a
path. From the annotations come the parsing, the refusal of bad input with a JSON pointer to each fault, and the document.
"""
