"""Faster image towers: the runtime that is fastest on this machine, and int8 models made from the images of a user."""
