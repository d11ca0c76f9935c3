"""The model, the label space and the arithmetic between them: no database, no command line, no hooks."""

import logging

__version__ = "0.1.0"

# The loggers of all three packages are below this one; without a handler Python would print warnings on standard error.
logging.getLogger("bioclip_plugin").addHandler(logging.NullHandler())
