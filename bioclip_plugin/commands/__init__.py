"""The built-in commands: one file each, imported when the command is called."""
