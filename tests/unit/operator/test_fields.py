"""Addresses are read as Python's own library reads them."""

from __future__ import annotations

import ipaddress

from hypothesis import example, given
from hypothesis import strategies as st

from fairlead_operator.api.fields import ip_address

_ADDRESSES = st.ip_addresses().map(str) | st.ip_addresses(v=6).map(lambda address: address.exploded.upper())
_NEARLY = st.text("0123456789.:af %\n\0", max_size=16) | st.lists(st.sampled_from(["0", "00", "1", "256"])).map(
    ".".join
)


@given(_ADDRESSES | _NEARLY | st.text())
@example("01.2.3.4")
@example("1.2.3")
@example("::ffff:1.2.3.4")
def test_an_address_is_what_the_library_says(text: str) -> None:
    try:
        expected = str(ipaddress.ip_address(text))
    except ValueError:
        expected = None
    assert ip_address(text) == (None if "%" in text else expected)
