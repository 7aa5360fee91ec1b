"""The command ``fairlead``: one file for each subcommand that needs more than a few lines."""

import os

# What gRPC's core would print of a failure we say ourselves, in words. It reads this when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
