"""Built-in detectors: the one of the ``speciesnet`` package, with the checks of its checkpoint."""
