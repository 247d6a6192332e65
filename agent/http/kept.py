"""Answers that are made once: what a hot read was told is kept, headers, body and all, until something of it changes.

A *question* is a read of the cluster as the handlers see it, without what does not change the answer. Its answer is
made by the same halves of the handler (`agent.http.reads`) that everybody else's is, and dropped by the watch of that
read: every command that touches what was read fires it, before anybody can see the command's effect. That an answer
cannot be wrong follows from four rules, all of them here:

- What an answer may depend on is in the question's key: path, parameters, and those headers that handlers get to see
  (`KEYED_HEADERS`, the token among them; they see no others). `index` and `wait` are not, but for whether there is an
  index; the handler does not see them either.
- The watch notes the rows that were read; the index values that were looked up are compared at each use.
- Every use asks first whether this server leads and has applied what earlier leaders committed, as `dispatch` does.
  Reads that must prove more (`?consistent`), reads of other datacenters or of the agent's cache, and all reads on
  followers and clients are answered elsewhere.
- A configuration that was reloaded drops everything.

Blocking reads wait here, too, on their question: one watch for all who ask the same, one encoding when it fires.
"""

import asyncio
import gzip
import logging
import re
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

from multidict import CIMultiDict

from agent.http.front import Incoming, Outgoing
from agent.http.heads import header_lines, opening, plain_head
from agent.http.measured import MeasuredRoute
from agent.http.reads import ASKS, Asked
from agent.http.routing import ApiRequest, ApiResponse, Handler, HttpError
from agent.http.waiters import Connection, Deadlines, Waiter
from model.acl.topics import WHO_MAY, who_may
from model.errors import RpcError
from model.tables import LookUp, Watch
from server.endpoints.context import FOLLOW_UPS, READS, Context, ReadFunction
from server.endpoints.query import QUERIES, leads, read_now, seconds_to_wait

if TYPE_CHECKING:
    from agent.agent import Agent

log = logging.getLogger("lictor.agent.http")

KEYED_HEADERS = (
    *("Accept-Encoding", "Authorization", "Cache-Control", "X-Consul-Token"),
    *("X-Consul-Namespace", "X-Consul-Partition"),
)
"""The headers that may change an answer that is kept."""
MAX_KEPT = 64 << 20
MAX_ONE = 16 << 20
"""Bytes of all kept answers, and of one."""
MAX_HEADS = 16 << 20
MAX_HEAD = 2048
"""Bytes of the request heads whose meaning is remembered, with what belongs to them; and of one head."""
OVERHEAD = 1024
"""Bytes that go with an answer or a head, about."""
GZIP_AT_ONCE = 1 << 20
"""A longer answer is not compressed in the event loop's thread, so not kept for those who want that."""
GZIP_THOROUGHLY = 32 << 10
"""Bytes up to which an answer is compressed as well as can be; longer ones quickly."""
SLICE = 0.002
"""Seconds of waking after which others get a turn."""

_INDEX = re.compile(rb"GET [^ ?]*\?(?:[^ ]*?&)??index=([0-9]{1,19})[& ]")


class Prepared(NamedTuple):
    """Who answers a request, what the handler sees of it, and what counts it."""

    handler: Handler
    request: ApiRequest
    measured: MeasuredRoute


class Responder:
    """The three steps of `HttpServer.respond`."""

    def __init__(
        self,
        prepare: Callable[[Incoming], ApiResponse | Prepared],
        refusal: Callable[[Incoming, Exception], ApiResponse],
        finished: Callable[[Incoming, ApiResponse], Outgoing],
    ) -> None:
        self.prepare = prepare
        self.refusal = refusal
        self.finished = finished


class Question:
    """A read that is asked again and again; who waits for it; and its answer, while that is kept."""

    __slots__ = (
        *("__weakref__", "asked", "blocks", "function", "incoming", "index", "looked_up", "measured"),
        *("notice", "rest", "status", "too_long", "used", "verified", "waiters"),
    )

    def __init__(self, incoming: Incoming, asked: Asked, function: ReadFunction, measured: MeasuredRoute) -> None:
        self.incoming = incoming
        self.measured = measured
        self.asked = asked
        self.function = function
        self.rest: bytes | None = None
        """The answer but for its first line and date; None when none is kept."""
        self.status = 200
        self.index = 0
        """The index of the answer that was made last."""
        self.blocks = True
        """Whether the read looked at something that one can wait for."""
        self.too_long = False
        """Whether an answer was too long to be compressed here."""
        self.looked_up: list[LookUp] = []
        self.verified = -1
        """`Indexes.changes` when the values of `looked_up` were compared last and were still the same."""
        self.notice: Notice | None = None
        """Fires when the answer that was made last is no longer right; None when it has."""
        self.used = False
        self.waiters: dict[Waiter, None] = {}

    @property
    def holds(self) -> bool:
        """Whether the index values that the answer was made of are still the same."""
        looked_up = self.looked_up
        if not looked_up:
            return True
        changes = looked_up[0][0].changes
        if self.verified != changes:
            if any(indexes.get(*names) != value for indexes, names, value in looked_up):
                return False
            self.verified = changes
        return True


class Notice(Watch):
    """Tells when what a question's answer was made of has changed."""

    __slots__ = ("kept", "question")

    def __init__(self, kept: "KeptAnswers", question: Question) -> None:
        super().__init__()
        self.kept = kept
        self.question = question

    def fire(self) -> None:
        """Something has changed."""
        if self.question.notice is self:
            self.kept.changed(self.question, self)


class Ticket(NamedTuple):
    """What a request's head means: a question, and for how many nanoseconds the client would wait."""

    question: Question
    max_query_time: int


_SEEN = object()
"""A head that was seen once: not yet worth more than that."""
_NEVER = object()
"""A head whose answer cannot be kept."""


class KeptAnswers:
    """The answers that one agent's HTTP server keeps. `context` is the server that runs in the agent."""

    def __init__(self, agent: "Agent", context: Context, responder: Responder, max_kept: int = MAX_KEPT) -> None:
        self._agent = agent
        self._config = agent.config
        self._context = context
        self._responder = responder
        self._max_kept = max_kept
        self._heads: dict[bytes, Any] = {}
        self._head_bytes = 0
        self._questions: WeakValueDictionary[Any, Question] = WeakValueDictionary()
        self._kept: dict[Question, int] = {}
        self.bytes = 0
        """Bytes of the answers that are kept."""
        self.made = 0
        """How many answers were made, rather than found."""
        self._fired: list[Notice] = []
        self._woken: deque[Waiter] = deque()
        self._working = False
        self._deadlines = Deadlines()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self.waiting = 0
        """How many blocking reads wait."""

    # Requests

    def take(self, connection: Connection, head: bytes) -> bool:
        """Answer the request whose head this is, or let it wait; False when it has to be answered elsewhere.

        `head` may be anything; what is not exactly the head of a plain GET request is left alone.
        """
        try:
            return self._take(connection, head)
        except (HttpError, RpcError):
            return False  # The same error will be found there.
        except Exception:
            log.exception("a kept answer failed")
            return False

    def _take(self, connection: Connection, head: bytes) -> bool:
        began = time.perf_counter()
        if self._agent.config is not self._config:
            self.clear()
        ticket = self._heads.get(head)
        wanted = 0
        if ticket is None:
            key = head
            found = _INDEX.match(head)
            if found is not None and (wanted := int(found[1])):
                key = head[: found.start(1)] + b"\0" + head[found.end(1) :]
                ticket = self._heads.get(key)
            if ticket is None:
                ticket = self._understand(head, key, wanted)
        elif ticket is _SEEN:
            ticket = self._understand(head, head, 0)
        if ticket.__class__ is not Ticket or ticket.question.too_long or not leads(self._context):
            return False
        question = ticket.question
        if not self._context.acl.is_here(question.asked.args.token):
            return False  # Another datacenter has to be asked about the token.
        rest = question.rest
        if rest is None or not question.holds:
            if wanted and self._waits_already(question, wanted):
                return self._hold(connection, question, wanted, ticket.max_query_time)
            rest = self._make(question)
            if question.too_long:
                self._unwatch(question)
                return False
        if wanted and question.index <= wanted and question.blocks:
            return self._hold(connection, question, wanted, ticket.max_query_time)
        question.used = True
        connection.deliver(opening(question.status), rest)
        QUERIES.add()
        question.measured.succeeded()
        question.measured.took(time.perf_counter() - began)
        return True

    def _waits_already(self, question: Question, wanted: int) -> bool:
        """Whether an answer that is not kept is known to be no later than `wanted`."""
        return question.notice is not None and bool(question.waiters) and question.index <= wanted and question.holds

    def _understand(self, head: bytes, key: bytes, wanted: int) -> Any:
        """What a head means that was not met before; `key` is where that is remembered."""
        if len(head) > MAX_HEAD:
            return None
        if not wanted and key not in self._heads and head.startswith(b"GET /v1/"):
            return self._remember(key, _SEEN)
        plain = plain_head(head)
        if plain is None or plain.method != "GET" or plain.length or plain.end != len(head):
            return None
        incoming = Incoming("GET", plain.target, plain.headers, "", _no_body)
        try:
            ticket = self._ticket(incoming, wanted)
        except (HttpError, RpcError):
            ticket = None
        return self._remember(key, ticket or _NEVER)

    def _ticket(self, incoming: Incoming, wanted: int) -> Ticket | None:
        """Raises HttpError, RpcError."""
        prepared = self._responder.prepare(incoming)
        if isinstance(prepared, ApiResponse):
            return None
        handler, request, measured = prepared
        ask = ASKS.get(handler)
        if ask is None or request.wants_cached:
            return None
        asked = ask(request)
        if asked.method not in READS or asked.method in FOLLOW_UPS:
            return None  # What follows a read may ask others, and takes more than one turn of the event loop.
        args = asked.args
        if bool(wanted) != bool(args.min_query_index) or (wanted and len(request.params["index"]) != 1):
            return None
        own = self._context.datacenter
        if args.require_consistent or getattr(args, "datacenter", own).lower() != own.lower():
            return None
        params = {name: values for name, values in request.params.items() if name not in ("index", "wait")}
        seen = [(name, value) for name, value in request.headers.items() if name.title() in _KEYED]
        key = (
            request.path,
            bool(wanted),
            tuple((name, tuple(values)) for name, values in params.items()),
            tuple(seen),
        )
        question = self._questions.get(key)
        if question is None:
            if wanted:
                params["index"] = ["1"]
            headers = CIMultiDict(seen)
            bare = ApiRequest(self._agent, "GET", request.path, params, headers, request._read_body, "")
            bare.rest = request.rest
            question = Question(incoming._replace(headers=headers), ask(bare), READS[asked.method], measured)
            self._questions[key] = question
        return Ticket(question, args.max_query_time)

    def _remember(self, key: bytes, meaning: Any) -> Any:
        if key not in self._heads:
            self._head_bytes += len(key) + OVERHEAD
            if self._head_bytes > MAX_HEADS:
                self._heads.clear()
                self._head_bytes = len(key) + OVERHEAD
        self._heads[key] = meaning
        return meaning

    # Answers

    def _make(self, question: Question) -> bytes:
        """Make a question's answer, and keep it if this server leads. Raises HttpError, RpcError."""
        self._forget_answer(question)
        self._unwatch(question)
        context, store = self._context, self._context.fsm.store
        notice = Notice(self, question)
        journal = store.journal
        looked_up: list[LookUp] = []
        journal.looked_up = looked_up
        try:
            reply = read_now(context, question.function, question.asked.args, notice)
        finally:
            journal.looked_up = None
        self.made += 1
        question.looked_up = list(dict.fromkeys(looked_up))
        question.verified = -1
        question.index = max(reply.index, 1)
        question.blocks = bool(notice.topics)
        notice.note(WHO_MAY, who_may(question.asked.args.token))
        question.notice = notice
        store.watches.add(notice)
        answer, headers, compressed = self._responder.finished(question.incoming, question.asked.answer(reply))
        question.status = answer.status
        question.too_long = compressed and len(answer.body) > GZIP_AT_ONCE
        rest = _rest(answer.status, headers, answer.body, compressed)
        may_last = leads(context) and context.acl.lasts(question.asked.args.token)
        if may_last and len(rest) + OVERHEAD <= min(MAX_ONE, self._max_kept):
            self._keep(question, rest)
        return rest

    def _keep(self, question: Question, rest: bytes) -> None:
        question.rest, question.used = rest, True
        size = self._kept[question] = len(rest) + OVERHEAD
        self.bytes += size
        while self.bytes > self._max_kept:
            oldest = next(iter(self._kept))
            if oldest.used:
                oldest.used = False  # It was asked for since it was looked at last: another turn.
                self._kept[oldest] = self._kept.pop(oldest)
            else:
                self._forget_answer(oldest)
                if not oldest.waiters:
                    self._unwatch(oldest)

    def _forget_answer(self, question: Question) -> None:
        size = self._kept.pop(question, None)
        if size is not None:
            self.bytes -= size
            question.rest = None

    def _unwatch(self, question: Question) -> None:
        if question.notice is not None:
            self._context.fsm.store.watches.discard(question.notice)
            question.notice = None

    def clear(self) -> None:
        """Forget all answers and what heads mean; those who wait are answered anew when their time comes."""
        self._config = self._agent.config
        self._heads.clear()
        self._head_bytes = 0
        self._questions.clear()
        for question in list(self._kept):
            self._forget_answer(question)
            if not question.waiters:
                self._unwatch(question)

    def changed(self, question: Question, notice: Notice) -> None:
        """What an answer was made of has changed: from now on it is not used. Called while a command is carried out."""
        question.notice = None
        self._forget_answer(question)
        self._fired.append(notice)
        self._work_soon()

    # Those who wait

    def _hold(self, connection: Connection, question: Question, wanted: int, max_query_time: int) -> bool:
        """Let a blocking read wait; always True."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()  # To ask for it each time is a system call.
        waiter = Waiter(self, connection, question, wanted, self._context.fsm.store, time.perf_counter())
        connection.task = waiter
        question.waiters[waiter] = None
        self.waiting += 1
        self._context.fsm.store.watches.waiting += 1
        self._deadlines.add(waiter, loop.time() + seconds_to_wait(self._context, max_query_time))
        self._set_timer(loop)
        QUERIES.add()
        return True

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        at = self._deadlines.next()
        if at is None or (self._timer is not None and self._timer_at <= at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = loop.call_at(at, self._time_is_up)

    def _time_is_up(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        due = self._deadlines.due(loop.time())
        for waiter in due:
            waiter.expired = True
            if waiter in waiter.question.waiters:  # Otherwise it is on its way already.
                del waiter.question.waiters[waiter]
                self._woken.append(waiter)
        if due:
            self._work_soon()
        self._set_timer(loop)

    def forget(self, waiter: Waiter) -> None:
        """A waiter waits no more."""
        self.waiting -= 1
        self._context.fsm.store.watches.waiting -= 1
        self._deadlines.discard(waiter)
        question = waiter.question
        question.waiters.pop(waiter, None)
        if not question.waiters and question.rest is None:
            self._unwatch(question)

    def _work_soon(self) -> None:
        if not self._working:
            self._working = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        """Wake those whose question has changed or whose time is up, a few at a time."""
        self._working = False
        if self._agent.config is not self._config:
            self.clear()
        for notice in self._fired:
            self._context.fsm.store.watches.discard(notice)
            self._woken.extend(notice.question.waiters)
            notice.question.waiters.clear()
        self._fired.clear()
        woken, leading = self._woken, leads(self._context)
        ends = time.perf_counter() + SLICE
        while woken:
            waiter = woken.popleft()
            if waiter.connection is not None:
                self._attend(waiter, waiter.connection, leading)
            if time.perf_counter() > ends:
                break
        if woken:
            self._work_soon()

    def _attend(self, waiter: Waiter, connection: Connection, leading: bool) -> None:
        """Answer a waiter if its index has passed or its time is up; otherwise it goes on waiting."""
        question = waiter.question
        try:
            rest = question.rest
            if rest is None or not leading or not question.holds:
                rest = self._make(question)
            status = question.status
        except Exception as error:
            status, rest = self._refused(question, error)
            if isinstance(error, RpcError):
                question.measured.refused()
        else:
            in_vain = question.index <= waiter.index and question.blocks
            if in_vain and not waiter.expired and waiter.store is self._context.fsm.store:
                question.waiters[waiter] = None
                return
            question.measured.succeeded()
        question.measured.took(time.perf_counter() - waiter.began)
        self.forget(waiter)
        connection.task = None
        connection.deliver(opening(status), rest)
        connection.go_on()

    def _refused(self, question: Question, error: Exception) -> tuple[int, bytes]:
        incoming = question.incoming
        answer, headers, _ = self._responder.finished(incoming, self._responder.refusal(incoming, error))
        return answer.status, _rest(answer.status, headers, answer.body, False)


_KEYED = frozenset(name.title() for name in KEYED_HEADERS)


def _rest(status: int, headers: dict[str, str], body: bytes, compressed: bool) -> bytes:
    """An answer without its first line and date."""
    if compressed:
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(body, 6 if len(body) <= GZIP_THOROUGHLY else 1, mtime=0)
    if status not in (204, 304):
        headers["Content-Length"] = str(len(body))
    return header_lines(headers) + body


async def _no_body(limit: int) -> bytes:
    return b""
