"""``fairlead operator``."""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None: ...


def run(args: argparse.Namespace) -> int:
    raise NotImplementedError
