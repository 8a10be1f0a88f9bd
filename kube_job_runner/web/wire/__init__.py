"""The wire: connections, their deadlines and their number, and the heads of requests. It knows no operation of the API."""
