"""Which requests a route takes: ``matches`` -> ``RouteMatch``, and the order in which routes are tried."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from envoy_data_plane.envoy.config.route.v3 import HeaderMatcher, RouteMatch
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher
from pydantic import Field

from fairlead_xds.features.value import Rule, Token, Value


def _is_re2(pattern: str) -> bool:
    import re2  # noqa: PLC0415 - 3 MB for the few who write regular expressions

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
    except re2.error:
        return False
    return True


def _path_shape(value: PathMatch) -> bool:
    return value.type == "RegularExpression" or value.value.startswith("/")


class PathMatch(Value):
    """A match on the path of the request, without its query."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = Field(
        "PathPrefix",
        description=(
            "PathPrefix matches whole segments: `/a` takes `/a` and `/a/b`, not `/ab`."
            " A regular expression must match the whole path."
        ),
    )
    value: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        "/", description="What the path is held against."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.type == 'RegularExpression' || self.value.startsWith('/')",
            "value must start with / unless type is RegularExpression",
            _path_shape,
            "value",
        ),
        Rule(
            "self.type == 'RegularExpression' || !self.value.matches('[?#]|//')",
            "value must not hold ?, # or //: only the path is matched",
            lambda v: v.type == "RegularExpression" or not any(s in v.value for s in ("?", "#", "//")),
            "value",
        ),
    )


class HeaderMatch(Value):
    """A match on one request header."""

    type: Literal["Exact", "RegularExpression", "Present"] = Field("Exact", description="How the header is matched.")
    name: Token = Field(description="Name of the header, in any case.")
    value: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(
        None, description="What it is held against; absent when type is Present."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.type == 'Present' ? !has(self.value) : has(self.value)",
            "value must be set, unless type is Present: then it must not",
            lambda v: (v.value is None) == (v.type == "Present"),
            "value",
        ),
    )


class RouteMatchRule(Value):
    """One way to match; every part of it must hold."""

    path: PathMatch = Field(PathMatch(), description="Path of the request. Default: every path.")
    headers: Annotated[tuple[HeaderMatch, ...], Field(max_length=16)] = Field(
        (), description="Headers, all of which must match."
    )


def regex_errors(match: RouteMatchRule) -> list[tuple[str, str]]:
    """``(field, pattern)`` of each expression that is not RE2 (the syntax that Envoy takes; no look-around)."""
    patterns = [("path.value", match.path.value)] if match.path.type == "RegularExpression" else []
    patterns += [
        (f"headers[{i}].value", header.value or "")
        for i, header in enumerate(match.headers)
        if header.type == "RegularExpression"
    ]
    return [(field, pattern) for field, pattern in patterns if not _is_re2(pattern)]


def route_match(value: RouteMatchRule) -> RouteMatch:
    """``Route.match``."""
    headers = [_header_matcher(header) for header in value.headers]
    path = value.path
    match path.type:
        case "Exact":
            return RouteMatch(path=path.value, headers=headers)
        case "RegularExpression":
            return RouteMatch(safe_regex=RegexMatcher(regex=path.value), headers=headers)
        case _:
            # path_separated_prefix takes no trailing slash; a bare prefix of / is every path.
            stripped = path.value.rstrip("/")
            if not stripped:
                return RouteMatch(prefix="/", headers=headers)
            return RouteMatch(path_separated_prefix=stripped, headers=headers)


def _header_matcher(header: HeaderMatch) -> HeaderMatcher:
    if header.value is None:
        return HeaderMatcher(name=header.name, present_match=True)
    if header.type == "RegularExpression":
        matcher = StringMatcher(safe_regex=RegexMatcher(regex=header.value))
    else:
        matcher = StringMatcher(exact=header.value)
    return HeaderMatcher(name=header.name, string_match=matcher)


def precedence(value: RouteMatchRule) -> tuple[float, ...]:
    """Sort key, the more specific first (Gateway API, HTTPRouteRule): exact path, longer path, more headers.

    Regular expressions come between exact paths and prefixes; the caller breaks ties by age and order.
    """
    rank = {"Exact": 0, "RegularExpression": 1, "PathPrefix": 2}[value.path.type]
    length = math.inf if value.path.type == "RegularExpression" else len(value.path.value.rstrip("/"))
    return (rank, -length, -len(value.headers))
