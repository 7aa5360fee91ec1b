"""Sets of resource names, shared between streams.

The proxies of one gateway subscribe to the same thousand load assignments. Each stream would otherwise keep a thousand
strings and a set of its own, some 100 kB; with equal sets shared it keeps a reference.
"""

from __future__ import annotations

from weakref import ReferenceType, WeakKeyDictionary, ref

_known: WeakKeyDictionary[frozenset[str], ReferenceType[frozenset[str]]] = WeakKeyDictionary()


def shared(names: frozenset[str]) -> frozenset[str]:
    """The one set equal to *names* that is in use anywhere in the process; it goes when nobody uses it any more."""
    reference = _known.get(names)
    known = reference() if reference is not None else None
    if known is None:
        _known[names] = ref(names)
        return names
    return known
