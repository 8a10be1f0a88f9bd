"""The HTTP side: the kit (typed routes, OpenAPI, problems), the API, authentication."""
