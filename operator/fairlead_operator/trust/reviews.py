"""Who a token is of, as the API server says, asked as seldom as is safe.

An answer is remembered under the SHA-256 of its token, never under the token. A thousand proxies that reconnect with
tokens that are known cost nothing, and many that come with one token at the same time cost one question. While the API
server cannot be asked, tokens that it once vouched for stay good until they expire; others are told to come again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from fairlead_operator.sources.client import CONNECTION_ERRORS, ApiError
from fairlead_operator.trust import claims
from fairlead_xds.auth import Identity, Refusal

log = logging.getLogger(__name__)

PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
_ACCOUNT: Final = "system:serviceaccount:"
_POD, _POD_UID = "authentication.kubernetes.io/pod-name", "authentication.kubernetes.io/pod-uid"

NO_TOKEN = Refusal("UNAUTHENTICATED", "a token is required: authorization: Bearer …", "no_token")
#: One text for all that is wrong with a token; what exactly is for the log and the count.
_WORDS: Final = "the token is not valid here"
AWAY = Refusal("UNAVAILABLE", "tokens cannot be checked now: come again", "unavailable")


class Creator(Protocol):
    """Who asks the API server: the Kubernetes client."""

    def create(self, path: str, body: dict[str, Any]) -> Awaitable[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Durations in seconds.

    Attributes:
        fresh: an accepted token is not asked for again within this time.
        refused: nor is a refused one within this; short, as a pod may be so new that the API server did not know it.
        kept: accepted tokens that are remembered, and as many refused ones, apart: made-up tokens push no good one out.
            Of more than that, those that were not used for the longest are forgotten.
        at_once: questions at the same time.
        patience: for an answer.
        pause: after a question that was not answered nobody asks for this long.
    """

    fresh: float = 600.0
    refused: float = 10.0
    kept: int = 20_000
    at_once: int = 16
    patience: float = 5.0
    pause: float = 1.0


@dataclass(frozen=True, slots=True)
class _Answer:
    verdict: Identity | Refusal
    fresh_until: float


@dataclass(slots=True)
class Reviews:
    """All methods belong to the event loop's thread.

    Attributes:
        asked: counts questions to the API server by what came of them: ``accepted``, ``refused``, ``failed``.
    """

    client: Creator
    audience: str
    now: Callable[[], float]
    bounds: Bounds = field(default_factory=Bounds)
    asked: Counter[str] = field(default_factory=Counter)
    _accepted: OrderedDict[bytes, _Answer] = field(default_factory=OrderedDict, repr=False)
    _refused: OrderedDict[bytes, _Answer] = field(default_factory=OrderedDict, repr=False)
    _asking: dict[bytes, asyncio.Task[Identity | Refusal]] = field(default_factory=dict, repr=False)
    _slots: asyncio.Semaphore | None = None
    _trouble: str = ""
    _paused_until: float = 0.0

    async def who(self, token: str) -> Identity | Refusal:
        """Who shows *token*."""
        said = claims.read(token)
        if said is None:
            return _refusal("malformed", "it is no JSON web token")
        if self.audience not in said.audiences:  # no need to ask: no API server would take it
            return _refusal("audience", f"it is for {', '.join(sorted(said.audiences)) or 'nobody'}")
        name = hashlib.sha256(token.encode()).digest()
        for answers in (self._accepted, self._refused):
            known = answers.get(name)
            if known is not None and self.now() < known.fresh_until:
                answers.move_to_end(name)
                return known.verdict
        task = self._asking.get(name)
        if task is None:
            task = self._asking[name] = asyncio.create_task(self._review(name, token, said))
            task.add_done_callback(lambda _: self._asking.pop(name, None))
        return await asyncio.shield(task)  # one that does not wait any longer must not take it from others

    async def _review(self, name: bytes, token: str, said: claims.Claims) -> Identity | Refusal:
        verdict = await self._ask(token, said)
        now = self.now()
        if verdict is AWAY:
            known = self._accepted.get(name)
            return known.verdict if known is not None and (said.expires or 0) > now else verdict
        if isinstance(verdict, Identity):
            until = now + self.bounds.fresh
            until = until if said.expires is None else min(until, said.expires)
            self._refused.pop(name, None)
            self._remember(self._accepted, name, _Answer(verdict, until))
        else:
            self._accepted.pop(name, None)
            self._remember(self._refused, name, _Answer(verdict, now + self.bounds.refused))
        return verdict

    def _remember(self, answers: OrderedDict[bytes, _Answer], name: bytes, answer: _Answer) -> None:
        answers[name] = answer
        answers.move_to_end(name)
        while len(answers) > self.bounds.kept:
            answers.popitem(last=False)

    async def _ask(self, token: str, said: claims.Claims) -> Identity | Refusal:
        if self._slots is None:
            self._slots = asyncio.Semaphore(self.bounds.at_once)
        question = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self.audience]},
        }
        try:
            async with self._slots:
                if self.now() < self._paused_until:
                    return AWAY
                async with asyncio.timeout(self.bounds.patience):
                    body = await self.client.create(PATH, question)
        except (ApiError, *CONNECTION_ERRORS, ValueError) as error:
            self._failed(error)
            return AWAY
        if self._trouble:
            log.info("tokens can be checked again")
            self._trouble = ""
        verdict = _identity(body.get("status") or {}, self.audience)
        if verdict is None:
            self.asked["refused"] += 1
            expired = said.expires is not None and said.expires <= self.now()
            return (
                _refusal("expired", "it has expired") if expired else _refusal("invalid", "the API server refused it")
            )
        self.asked["accepted"] += 1
        return replace(verdict, expires=said.expires)

    def _failed(self, error: Exception) -> None:
        self.asked["failed"] += 1
        self._paused_until = self.now() + self.bounds.pause
        if not self._trouble:
            hint = ""
            if isinstance(error, ApiError) and error.status == 403:
                hint = " (the operator needs create on tokenreviews.authentication.k8s.io)"
            log.error(
                "tokens cannot be checked: %s%s: proxies that are known go on, others are told to come again",
                error or repr(error),
                hint,
            )
        self._trouble = str(error) or repr(error)


def _refusal(label: str, detail: str) -> Refusal:
    return Refusal("UNAUTHENTICATED", _WORDS, label, detail)


def _identity(status: Any, audience: str) -> Identity | None:
    """Whom a TokenReview's status vouches for; ``None``: nobody. What is not as expected is nobody."""
    try:
        if status.get("authenticated") is not True or audience not in (status.get("audiences") or ()):
            return None
        user = status["user"]
        extra = user.get("extra") or {}
        kind, namespace, account = str(user["username"]).rsplit(":", 2)
        pod, uid = (str((extra.get(key) or [""])[0]) for key in (_POD, _POD_UID))
    except (LookupError, TypeError, AttributeError, ValueError):
        return None
    return Identity(namespace, account, pod, uid) if f"{kind}:" == _ACCOUNT else None
