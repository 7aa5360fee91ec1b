"""Proxies find a dead pod before its kubelet has seen enough failures, whenever it died (``liveness``)."""

from hypothesis import given
from hypothesis import strategies as st

from fairlead_operator.liveness import ahead

seconds = st.integers(1, 600)


@given(period=seconds, patience=seconds, failures=st.integers(2, 200))
def test_a_dead_pod_is_out_before_its_kubelet_ends_it(period: int, patience: int, failures: int) -> None:
    """It died when the kubelet was about to ask, and when the proxy just had; both for one that refuses and one that hangs."""
    found = ahead(period=1000 * period, patience=1000 * patience, failures=failures, timeout=1000 * patience)

    refused = found.unhealthy * (found.interval + found.jitter)
    assert refused < (failures - 1) * 1000 * period
    hung = found.unhealthy * (found.interval + found.jitter + 1000 * patience)
    assert hung < 1000 * ((failures - 1) * max(period, patience) + patience)
    assert 1 <= found.unhealthy < failures
    assert found.interval + found.jitter >= 400 * period - 1, "two and a half checks for one of the kubelet's"


@given(period=seconds, patience=seconds)
def test_where_one_failure_is_enough_proxies_ask_more_often(period: int, patience: int) -> None:
    found = ahead(period=1000 * period, patience=1000 * patience, failures=1, timeout=1000 * patience)

    assert found.unhealthy == 1
    assert found.interval + found.jitter <= 400 * period


@given(
    period=seconds,
    patience=seconds,
    failures=st.integers(1, 200),
    timeout=st.integers(1, 600_000),
    unhealthy=st.none() | st.integers(1, 100),
    jitter=st.none() | st.integers(0, 600_000),
)
def test_what_a_policy_says_is_taken_as_it_is(
    *, period: int, patience: int, failures: int, timeout: int, unhealthy: int | None, jitter: int | None
) -> None:
    found = ahead(
        period=1000 * period,
        patience=1000 * patience,
        failures=failures,
        timeout=timeout,
        unhealthy=unhealthy,
        jitter=jitter,
    )

    assert unhealthy in {None, found.unhealthy}
    assert jitter in {None, found.jitter}
    assert found.interval >= 200 * period
