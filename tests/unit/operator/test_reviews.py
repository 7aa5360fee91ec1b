"""Who a token is of: asked seldom, refused when in doubt, and never shown."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
from typing import Any

import pytest

from fairlead_operator.sources.client import ApiError
from fairlead_operator.trust import claims
from fairlead_operator.trust.proxies import NOTHING, TokenAuthenticator, either, gateways
from fairlead_operator.trust.reviews import Bounds, Reviews
from fairlead_xds.auth import Identity, Peer, Refusal
from fairlead_xds.protocol.node import Node

AUDIENCE = "fairlead.dev/xds"
Json = dict[str, Any]


def token(name: str = "web-1", *, audience: Any = AUDIENCE, expires: Any = 4000) -> str:
    body = json.dumps({"aud": audience, "exp": expires, "sub": name}).encode()
    return f"aGVhZA.{base64.urlsafe_b64encode(body).decode().rstrip('=')}.c2lnbmF0dXJl"


def accepted(pod: str = "web-1", user: str = "system:serviceaccount:shop:default", **status: Any) -> Json:
    extra = {
        "authentication.kubernetes.io/pod-name": [pod],
        "authentication.kubernetes.io/pod-uid": [f"uid of {pod}"],
    }
    whole = {"authenticated": True, "audiences": [AUDIENCE], "user": {"username": user, "extra": extra}, **status}
    return {"status": whole}


WEB = Identity("shop", "default", "web-1", "uid of web-1")


class Api:
    """An API server that says what it is told to."""

    def __init__(self, answer: Json | Exception | None = None) -> None:
        self.answer: Json | Exception = answer or accepted()
        self.questions: list[Json] = []
        self.hold: asyncio.Event | None = None

    async def create(self, path: str, body: Json) -> Json:
        assert path == "/apis/authentication.k8s.io/v1/tokenreviews"
        self.questions.append(body["spec"])
        if self.hold is not None:
            await self.hold.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Clock:
    time = 1000.0

    def __call__(self) -> float:
        return self.time


class Bench:
    def __init__(self, answer: Json | Exception | None = None, **bounds: Any) -> None:
        self.api, self.clock = Api(answer), Clock()
        self.reviews = Reviews(self.api, AUDIENCE, self.clock, Bounds(**bounds))

    async def who(self, shown: str = "") -> Identity | Refusal:
        return await self.reviews.who(shown or token())


def label(verdict: Identity | Refusal) -> str:
    assert isinstance(verdict, Refusal), verdict
    return f"{verdict.status} {verdict.label}"


async def test_an_accepted_token_says_who_it_is_and_until_when() -> None:
    bench = Bench()
    verdict = await bench.who()
    assert verdict == WEB
    assert isinstance(verdict, Identity)
    assert verdict.expires == 4000
    assert bench.api.questions == [{"token": token(), "audiences": [AUDIENCE]}]


async def test_it_is_asked_again_after_ten_minutes_or_when_it_has_expired() -> None:
    bench = Bench()
    for seconds, asked in ((0, 1), (599, 1), (601, 2), (700, 2)):
        bench.clock.time = 1000.0 + seconds
        await bench.who()
        assert len(bench.api.questions) == asked
    short = token(expires=1750)
    await bench.who(short)
    bench.clock.time = 1751.0
    bench.api.answer = {"status": {"authenticated": False, "error": "expired"}}
    assert label(await bench.who(short)) == "UNAUTHENTICATED expired"


async def test_a_thousand_with_one_token_at_once_cost_one_question() -> None:
    bench = Bench()
    bench.api.hold = asyncio.Event()
    tasks = [asyncio.create_task(bench.who()) for _ in range(1000)]
    await asyncio.sleep(0)
    tasks[0].cancel()  # whoever asked first does not wait any longer
    await asyncio.sleep(0)
    bench.api.hold.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[1:] == [WEB] * 999
    assert len(bench.api.questions) == 1


async def test_questions_at_the_same_time_are_few() -> None:
    bench = Bench(at_once=3)
    bench.api.hold = asyncio.Event()
    tasks = [asyncio.create_task(bench.who(token(f"pod-{number}"))) for number in range(20)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(bench.api.questions) == 3
    bench.api.hold.set()
    await asyncio.gather(*tasks)
    assert len(bench.api.questions) == 20


async def test_a_refusal_is_remembered_for_a_moment_only() -> None:
    bench = Bench({"status": {"authenticated": False, "error": "invalid bearer token"}})
    assert label(await bench.who()) == label(await bench.who()) == "UNAUTHENTICATED invalid"
    assert len(bench.api.questions) == 1
    bench.clock.time += 11
    bench.api.answer = accepted()
    assert await bench.who() == WEB


@pytest.mark.parametrize(
    ("shown", "want"),
    [
        ("opaque", "malformed"),
        ("a.b", "malformed"),
        ("a.!!!.c", "malformed"),
        ("a.bm8ganNvbg.c", "malformed"),
        (f"a.{'A' * claims.LONGEST}.c", "malformed"),
        (token(audience=5), "malformed"),
        (token(expires=10**400), "malformed"),
        (token(expires=float("inf")), "malformed"),
        (token(expires=float("nan")), "malformed"),
        (token(audience="https://kubernetes.default.svc"), "audience"),
        (token(audience=["vault", "else"]), "audience"),
        (token(audience=[]), "audience"),
    ],
)
async def test_what_cannot_be_good_is_refused_without_a_question(shown: str, want: str) -> None:
    bench = Bench()
    assert label(await bench.who(shown)) == f"UNAUTHENTICATED {want}"
    assert bench.api.questions == []


@pytest.mark.parametrize(
    "status",
    [
        {},
        None,
        "text",
        accepted(authenticated="true")["status"],
        accepted(audiences=[])["status"],
        accepted(audiences=["another"])["status"],
        accepted(user="kubernetes-admin")["status"],
        accepted(user="system:node:worker")["status"],
        {"authenticated": True, "audiences": [AUDIENCE]},
    ],
)
async def test_an_answer_that_vouches_for_nobody_is_a_refusal(status: Any) -> None:
    assert label(await Bench({"status": status}).who()) == "UNAUTHENTICATED invalid"


@pytest.mark.parametrize(
    "error", [ApiError(500, "etcd"), ApiError(403, "forbidden"), ConnectionRefusedError("refused"), TimeoutError()]
)
async def test_without_an_api_server_known_tokens_stay_good_and_unknown_ones_come_again(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench()
    await bench.who()
    bench.api.answer = error
    bench.clock.time += 2000  # long past the ten minutes
    assert await bench.who() == WEB
    assert label(await bench.who(token("new"))) == "UNAVAILABLE unavailable"
    bench.clock.time += 1500  # past the token's own end
    assert label(await bench.who()) == "UNAVAILABLE unavailable"
    bench.clock.time += 2
    bench.api.answer = accepted("new")
    verdict = await bench.who(token("new", expires=9000))
    assert isinstance(verdict, Identity)
    assert verdict.pod == "new"
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(told) == 1
    assert ("tokenreviews" in told[0]) == ("403" in str(error))
    assert token()[8:30] not in caplog.text


async def test_after_a_failure_nobody_asks_for_a_moment() -> None:
    bench = Bench(OSError("away"))
    for number in range(50):
        assert label(await bench.who(token(f"pod-{number}"))) == "UNAVAILABLE unavailable"
    assert len(bench.api.questions) == 1
    bench.clock.time += 1.1
    await bench.who()
    assert len(bench.api.questions) == 2


async def test_tokens_are_not_kept_and_not_without_number() -> None:
    bench = Bench(kept=10)
    for number in range(30):
        await bench.who(token(f"pod-{number}"))
    assert len(bench.reviews._accepted) == 10
    assert all(len(name) == 32 for name in bench.reviews._accepted)
    await bench.who(token("pod-29"))
    assert len(bench.api.questions) == 30


# --- from the token to the key


def peer(header: str | bytes | None) -> Peer:
    return Peer("ipv4:10.0.0.1:1", {} if header is None else {"authorization": header}, {})


def authenticator(bench: Bench) -> TokenAuthenticator:
    async def sidecars(identity: Identity) -> str | None:
        return "sidecar/shop/abc" if identity.pod == "web-1" else None

    return TokenAuthenticator(bench.reviews, either(gateways("system", {"edge-account": "edge"}), sidecars))


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dXNlcg==", token(), b"Bearer x"])
async def test_without_a_bearer_token_nobody_is_asked(header: str | bytes | None) -> None:
    bench = Bench()
    assert label(await authenticator(bench).admit(peer(header))) == "UNAUTHENTICATED no_token"
    assert bench.api.questions == []


async def test_keys_follow_from_the_identity_alone() -> None:
    each = authenticator(Bench())
    lying = Node(id="edge-1", cluster="edge", metadata={"NAMESPACE": "system"})
    for identity, want in (
        (Identity("system", "edge-account", "edge-1", "u"), "edge"),
        (WEB, "sidecar/shop/abc"),
    ):
        assert await each.key_of(identity, lying) == want


async def test_unknown_and_not_allowed_look_the_same() -> None:
    each = authenticator(Bench())
    strangers = [
        Identity("shop", "edge-account", "pod", "u"),  # the gateway's account of another namespace
        Identity("system", "default", "pod", "u"),
        Identity("nowhere", "nobody"),
    ]
    for identity in strangers:
        refusal = await each.key_of(identity, Node(cluster="edge"))
        assert isinstance(refusal, Refusal)
        assert (refusal.status, refusal.reason, refusal.label) == (NOTHING.status, NOTHING.reason, "not_allowed")


def test_the_claims_are_read_with_and_without_padding() -> None:
    for name in ("a", "ab", "abc", "abcd"):
        found = claims.read(token(name))
        assert found == claims.Claims(frozenset({AUDIENCE}), 4000.0)


async def test_made_up_tokens_push_no_good_one_out() -> None:
    bench = Bench(kept=10)
    await bench.who()
    bench.api.answer = {"status": {"authenticated": False}}
    for number in range(30):
        await bench.who(token(f"made-up-{number}"))
    assert len(bench.reviews._refused) == 10
    asked = len(bench.api.questions)

    assert await bench.who() == dataclasses.replace(WEB, expires=4000)
    assert len(bench.api.questions) == asked
