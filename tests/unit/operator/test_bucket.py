"""So much at once, then one now and then."""

from __future__ import annotations

import pytest

from fairlead_operator.bucket import Bucket


def test_a_burst_and_then_one_at_a_time() -> None:
    bucket = Bucket(3, 2.0)

    assert [bucket.take(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert bucket.wait(100.0) == 2.0
    assert bucket.wait(101.5) == 0.5
    assert not bucket.take(101.99)
    assert bucket.take(102.0)
    assert not bucket.take(102.0)


def test_what_waited_to_be_taken_is_taken() -> None:
    """The wait is never a little too short, whatever floating point makes of it."""
    bucket, now = Bucket(2, 0.3), 17.123456
    for _ in range(1000):
        if not bucket.take(now):
            now += bucket.wait(now)
            assert bucket.wait(now) == pytest.approx(0, abs=1e-9)
            now += 1e-9


def test_it_is_full_again_after_a_rest_and_never_fuller() -> None:
    bucket = Bucket(2, 1.0)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]

    assert [bucket.take(1000.0) for _ in range(3)] == [True, True, False]
