"""Termination of TLS: which certificate a client gets, and what a change of one does to the others."""

from __future__ import annotations

import ssl

import pytest

from tests.support.http_client import Client, load
from tests.support.manifests import listener, secret, site
from tests.support.traffic import World, free_port
from tests.support.traffic_tls import Authority, Pair

pytestmark = pytest.mark.timeout(60)

A, B = "a.example.com", "b.example.com"


def _secret(world: World, name: str, pair: Pair) -> None:
    world.apply(secret(name, pair.certificate, pair.key))


def _client(world: World, authority: Authority, host: str) -> Client:
    return Client(world.port, host=host, tls=authority.client())


async def _shown(world: World, authority: Authority, host: str) -> tuple[str, bytes]:
    """Who answers a new connection, and with which certificate."""
    async with _client(world, authority, host) as client:
        answer = await client.get()
        assert answer.status == 200
        return answer.backend, client.certificate


async def _two_hosts(world: World) -> tuple[Authority, Pair, Pair]:
    """Two policies on one port, each with a host, a certificate and a backend."""
    authority = Authority()
    pairs = authority.issue(A), authority.issue(B)
    for name, host, pair in zip("ab", (A, B), pairs, strict=True):
        await world.service(name, 1)
        _secret(world, f"{name}-tls", pair)
        world.policy(name, site(listener(world.port, host, secret=f"{name}-tls"), name))
    await world.settled()
    assert world.is_true("a")
    assert world.is_true("b")
    return authority, *pairs


async def test_each_host_has_its_certificate_and_backend(world: World) -> None:
    """Exact, by SNI."""
    authority, a, b = await _two_hosts(world)
    assert await _shown(world, authority, A) == ("a-1", a.der)
    assert await _shown(world, authority, B) == ("b-2", b.der)


async def test_an_unknown_name_is_refused(world: World) -> None:
    """Exact: no handshake for a name that no listener has, and none without TLS."""
    authority, *_ = await _two_hosts(world)
    async with _client(world, authority, "c.example.com") as client:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await client.get()
    async with Client(world.port) as client:
        with pytest.raises((EOFError, ConnectionError)):
            await client.get()


async def test_a_rotated_certificate_drains_nothing(world: World) -> None:
    """Exact: the open connection lives through 5 rotations, each new connection gets the new certificate, none fails."""
    authority, _, b = await _two_hosts(world)
    async with _client(world, authority, A) as old:
        assert (await old.get()).backend == "a-1"
        for _ in range(5):
            rotated = authority.issue(A)
            _secret(world, "a-tls", rotated)
            await world.settled()
            assert await _shown(world, authority, A) == ("a-1", rotated.der)
            assert (await old.get()).backend == "a-1"
        assert old.connections == 1
    assert await _shown(world, authority, B) == ("b-2", b.der)


@pytest.mark.parametrize("bad", ["no-pem", "foreign-key"])
async def test_a_bad_certificate_keeps_the_one_before(world: World, bad: str) -> None:
    """Exact: the host goes on with its old certificate, says so in ResolvedRefs, and the other host is not touched."""
    authority, a, b = await _two_hosts(world)
    foreign = authority.issue(A)
    wrong = Pair(b"no certificate", a.key) if bad == "no-pem" else Pair(foreign.certificate, a.key)
    async with _client(world, authority, A) as open_a, _client(world, authority, B) as open_b:
        await open_a.get()
        await open_b.get()
        _secret(world, "a-tls", wrong)
        await world.settled()

        assert (await open_a.get()).status == 200
        assert (await open_b.get()).status == 200
        assert open_a.connections == open_b.connections == 1
    assert await _shown(world, authority, A) == ("a-1", a.der)
    assert await _shown(world, authority, B) == ("b-2", b.der)
    assert world.condition("a", "ResolvedRefs")["reason"] == "InvalidCertificate"
    assert world.is_true("b", "ResolvedRefs")

    _secret(world, "a-tls", foreign)
    await world.settled()
    assert await _shown(world, authority, A) == ("a-1", foreign.der)
    assert world.is_true("a", "ResolvedRefs")


async def test_a_missing_certificate_concerns_its_host_only(world: World) -> None:
    """Exact: a policy whose Secret is missing serves nothing until it is there; the port's other host serves."""
    authority, _, b = await _two_hosts(world)
    world.delete("Secret", "a-tls")
    await world.settled()
    assert world.condition("a", "ResolvedRefs")["reason"] == "CertificateNotFound"
    assert await _shown(world, authority, B) == ("b-2", b.der)
    async with _client(world, authority, A) as client:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await client.get()

    again = authority.issue(A)
    _secret(world, "a-tls", again)
    await world.settled()
    assert await _shown(world, authority, A) == ("a-1", again.der)


async def test_a_wildcard_certificate_serves_its_hosts(world: World) -> None:
    """Exact: SNI under a wildcard, and the closer name first."""
    authority = Authority()
    wild, close = authority.issue("*.example.com"), authority.issue(A)
    for name, host, pair in (("wild", "*.example.com", wild), ("close", A, close)):
        await world.service(name, 1)
        _secret(world, name, pair)
        world.policy(name, site(listener(world.port, host, secret=name), name))
    await world.settled()
    assert await _shown(world, authority, A) == ("close-2", close.der)
    assert await _shown(world, authority, B) == ("wild-1", wild.der)


async def test_old_tls_versions_are_refused(world: World) -> None:
    """Exact: 1.2 and 1.3 are spoken, 1.1 is not."""
    authority, *_ = await _two_hosts(world)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = authority.client()
        context.minimum_version = context.maximum_version = version
        async with Client(world.port, host=A, tls=context) as client:
            assert (await client.get()).status == 200
    context = authority.client()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with Client(world.port, host=A, tls=context) as client:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await client.get()


async def test_another_host_comes_and_goes_without_touching_connections(world: World) -> None:
    """Exact: a third host on the port comes and goes 3 times; open connections of the others live, no request fails."""
    authority, *_ = await _two_hosts(world)
    name = "c.example.com"
    _secret(world, "c-tls", authority.issue(name))
    async with _client(world, authority, A) as open_a:
        for _ in range(3):
            world.policy("c", site(listener(world.port, name, secret="c-tls"), "b"))
            await world.settled()
            assert (await _shown(world, authority, name))[0] == "b-2"
            assert (await open_a.get()).status == 200
            world.delete("LoadBalancerPolicy", "c")
            await world.settled()
            assert (await open_a.get()).status == 200
        assert open_a.connections == 1


async def test_http_beside_https(world: World) -> None:
    """Exact: one policy with both; no failed request on the plain port while the certificate rotates."""
    authority = Authority()
    await world.service("a", 1)
    _secret(world, "a-tls", authority.issue(A))
    plain = free_port()
    listeners = [listener(world.port, A, secret="a-tls"), listener(plain, A, name="plain")]
    world.policy("a", site(listeners, "a"))
    await world.settled()
    async with load(plain, host=A) as tally:
        for _ in range(3):
            rotated = authority.issue(A)
            _secret(world, "a-tls", rotated)
            await world.settled()
            assert await _shown(world, authority, A) == ("a-1", rotated.der)
    assert tally.failures == []
