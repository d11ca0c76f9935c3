"""The demo model: trained from nothing on rendered scenes of the fictional biosphere."""
