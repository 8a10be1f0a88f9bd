"""The serving half of the kit: typed routes on Starlette and msgspec, problems (RFC 9457) and OpenAPI 3.1.

This is the only framework code of the product. `docs/adr/0005-starlette-and-a-kit-of-our-own.md` says why it exists.
A handler is an async function `(Call[Path, Query, Body]) -> Reply[Answer]`. An `Operation` declares its method and path.
The annotations of the handler are the source of parsing, of the answers to bad input, and of the API document. It does not
grow: pages for people are a separate application. Bodies are checked by `web/validation`, which knows no HTTP.
"""
