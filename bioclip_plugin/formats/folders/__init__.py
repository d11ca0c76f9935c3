"""Folders of links or copies of images, one folder per taxon or verdict."""
