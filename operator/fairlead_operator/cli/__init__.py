"""The command ``fairlead``: one file for each subcommand that needs more than a few lines."""
