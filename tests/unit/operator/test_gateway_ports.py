"""Which ports of a gateway's Service are ours: what listeners need and nobody else provides."""

from __future__ import annotations

from fairlead_operator.api.core import Service, ServicePort
from fairlead_operator.api.meta import Ref
from fairlead_operator.gateways.ports import elsewhere, manifest, missing, plan

CHART = (ServicePort("http", 80), ServicePort("https", 443))


def _service(*ports: ServicePort) -> Service:
    return Service(Ref("Service", "fairlead-system", "fairlead-gateway-edge"), (*CHART, *ports))


def test_ports_of_others_are_left_to_them() -> None:
    found = plan(_service(), [80, 443])

    assert (found.needed, found.current) == ((), ())
    assert not found.differs


def test_a_new_listener_needs_a_port() -> None:
    found = plan(_service(), [443, 8443])

    assert found.needed == (8443,)
    assert found.differs


def test_a_port_of_ours_is_given_up_with_its_last_listener() -> None:
    found = plan(_service(ServicePort("listener-8443", 8443)), [80])

    assert (found.needed, found.current) == ((), (8443,))
    assert found.differs


def test_a_port_that_somebody_else_took_over_is_not_ours_any_more() -> None:
    found = plan(_service(ServicePort("mine", 8443)), [8443])

    assert not found.differs


def test_another_protocol_is_another_port() -> None:
    service = _service(ServicePort("quic", 8443, "UDP"))

    assert plan(service, [8443]).needed == (8443,)
    assert missing(service, [80, 8443]) == (8443,)


def test_what_is_applied_names_our_ports_alone() -> None:
    assert manifest("ns", "edge", [8443])["spec"] == {
        "ports": [{"name": "listener-8443", "port": 8443, "targetPort": 8443, "protocol": "TCP"}]
    }
    assert "spec" not in manifest("ns", "edge", [])


def test_a_port_that_leads_to_a_listener_is_all_that_it_needs() -> None:
    service = _service(ServicePort("web", 8000, target="8080"))

    assert not plan(service, [8080]).differs
    assert missing(service, [8080]) == ()


def test_a_port_that_leads_elsewhere_is_taken_and_reaches_nothing() -> None:
    service = _service(ServicePort("web", 8000, target="8080"))

    assert not plan(service, [8000]).differs  # the API server would refuse the same number again
    assert missing(service, [8000]) == (8000,)
    assert elsewhere(service, 8000) == ServicePort("web", 8000, target="8080")
    assert elsewhere(service, 80) is None
