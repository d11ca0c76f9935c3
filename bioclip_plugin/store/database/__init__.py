"""The database below the store: address, connection, column types, tables, migrations, retries."""
