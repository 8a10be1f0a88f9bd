"""The HTTP side: the application and its server, authentication, the API, and the kit that it is built with."""
