"""What kopf is told to do, and what not."""

from __future__ import annotations

from typing import Any

import kopf

from fairlead_operator import handlers


class Uncopied(dict[str, Any]):
    """An object that is handed on as it came."""

    def __deepcopy__(self, memo: object) -> Uncopied:
        raise AssertionError("copied")


def test_no_event_costs_a_copy_of_the_object_and_nothing_is_written_into_it() -> None:
    persistence = handlers.settings().persistence
    raw: Any = {"metadata": Uncopied(name="shop", annotations={}), "spec": Uncopied(), "status": Uncopied()}
    body, patch = kopf.Body(raw), kopf.Patch()

    before = persistence.diffbase_storage.fetch(body=body)
    now = persistence.diffbase_storage.build(body=body, extra_fields=None)
    persistence.diffbase_storage.store(body=body, patch=patch, essence=now)
    persistence.progress_storage.touch(body=body, patch=patch, value="now")

    assert before is None
    assert not persistence.progress_storage.clear(essence=now)
    assert not patch
