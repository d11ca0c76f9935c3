"""Reading of scientific names: vocabulary, spelling, parts and the reader. Its door is :mod:`bioclip_core.names`."""
