"""Kubernetes' resource quantities (apimachinery's ``resource.Quantity``), as far as people write them. Pure."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
_UNITS: Final = {"": Fraction(1), "m": Fraction(1, 1000)}
_UNITS.update({name: Fraction(1000) ** power for power, name in enumerate(("k", "M", "G", "T"), start=1)})
_UNITS.update({name: Fraction(1024) ** power for power, name in enumerate(("Ki", "Mi", "Gi", "Ti"), start=1)})


def is_quantity(text: str) -> bool:
    """Whether *text* is one: ``100m``, ``0.5``, ``64Mi``."""
    return re.fullmatch(PATTERN, text) is not None


def amount(text: str) -> Fraction:
    """How much *text*, which is a quantity, stands for: cores or bytes."""
    number = text.rstrip("mkMGTi")
    return Fraction(number) * _UNITS[text[len(number) :]]
