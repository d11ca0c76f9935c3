"""The migrations of the store's tables, run by ``bioclip_plugin.store.database.versions``."""
