"""The model, the label space and the arithmetic between them: no database, no command line, no hooks."""

__version__ = "0.1.0"
