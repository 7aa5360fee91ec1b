"""What a token says about itself. Believed only to refuse, or after the API server has vouched for the token. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import math
from dataclasses import dataclass
from typing import Any, Final

#: Longer ones are none of Kubernetes'.
LONGEST: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Claims:
    """Of a service account token. ``expires``: seconds since the epoch, or ``None`` where it does not say."""

    audiences: frozenset[str]
    expires: float | None


def read(token: str) -> Claims | None:
    """The claims; ``None`` for what is no JSON web token."""
    parts = token.split(".")
    if len(parts) != 3 or not all(parts) or len(token) > LONGEST:
        return None
    try:
        body: Any = json.loads(base64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    audience, expires = body.get("aud", []), body.get("exp")
    listed = [audience] if isinstance(audience, str) else audience
    if not isinstance(listed, list):
        return None
    # NumericDate (RFC 7519): a finite number. Python's JSON reads NaN, Infinity and integers that no float can hold.
    try:
        until = float(expires) if isinstance(expires, int | float) else None
    except OverflowError:
        return None
    if until is not None and not math.isfinite(until):
        return None
    return Claims(frozenset(one for one in listed if isinstance(one, str)), until)
