"""The biosphere written out in the published formats with realistic dirt, and the truth about each record."""
