"""``python -m bioclip_plugin``: the command line, for launchers such as torchrun that take a module."""

from bioclip_plugin.cli import main

main()
