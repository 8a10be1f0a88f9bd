"""The public Python SDK. It imports nothing of the server side."""
