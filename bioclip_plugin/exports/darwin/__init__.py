"""Identifications as a Darwin Core archive: our profile of Occurrence, Identification and Audubon Core."""
