"""A new cluster is waited for until its first checks are over: the server's patience and the longest check go together."""

from fairlead_xds.features.active import LONGEST_TIMEOUT
from fairlead_xds.features.value import milliseconds
from fairlead_xds.server import Options


def test_no_check_takes_longer_than_the_server_waits_for_a_cluster() -> None:
    """Else routes would lead to a cluster that is not there yet, and requests get 503."""
    assert milliseconds(LONGEST_TIMEOUT) / 1000 < Options().stuck_after
