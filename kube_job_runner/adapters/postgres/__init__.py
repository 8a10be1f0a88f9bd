"""PostgreSQL: the store, the queue, migrations, and the embedded server."""
