"""Parts that several formats share: streamed JSON, paths and names in files, duplicate entries."""
