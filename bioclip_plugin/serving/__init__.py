"""The HTTP server: one process, one model, any number of clients."""
