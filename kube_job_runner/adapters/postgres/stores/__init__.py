"""Store ports on PostgreSQL: one module and one small class per port, each over a pool of connections."""
