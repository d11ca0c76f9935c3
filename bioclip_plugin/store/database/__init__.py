"""The database below the store: addresses, connections and retries, tables and migrations, single values, bulk queries."""
