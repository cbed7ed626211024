"""The site of one configuration: what is asked, and under which rule, becomes a response."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import NamedTuple

from fingerd.errors import BackendError
from fingerd.http import feeds, webfinger
from fingerd.http.fitting import fitting, size_of_text
from fingerd.http.options import Http
from fingerd.http.pages import STYLE, Pages
from fingerd.http.people import People
from fingerd.http.people_json import Json, person_json
from fingerd.http.request import MALFORMED, HttpError, Request, malformed
from fingerd.http.response import CORS, HTML, JSON, TEXT, Header, respond
from fingerd.http.routes import Route, person_path
from fingerd.people import Person
from fingerd.people.links import parse_links
from fingerd.protocol.query import Query
from fingerd.protocol.reply import (
    INTERNAL_ERROR,
    LIST_DENIED,
    NO_SUCH_USER,
    SERVICE_BUSY,
    encode_reply,
)
from fingerd.ruip.policy import Rule
from fingerd.ruip.ruip import FAILURE_TEXTS, Answer, AnswerContext
from fingerd.server.active_config import ActiveConfig

log = logging.getLogger(__name__)

STATUS_OF = {  # of an outcome
    "answered": HTTPStatus.OK,
    "unknown": HTTPStatus.NOT_FOUND,
    "refused": HTTPStatus.FORBIDDEN,
    "malformed": HTTPStatus.BAD_REQUEST,
    "error": HTTPStatus.INTERNAL_SERVER_ERROR,
    "busy": HTTPStatus.SERVICE_UNAVAILABLE,
}
CHARSETS = {"utf-8": "utf-8", "ascii": "us-ascii", "latin-1": "iso-8859-1"}
_JSON_BYTES = len('{"people": [], "truncated": true}\n')

NO_QUERY = Query()


class Asked(NamedTuple):
    """What one request asks of a site: a query, and the form of the answer."""

    site: "Site"
    form: str
    request: Request
    route: Route
    rule: Rule
    query: Query = NO_QUERY
    account: webfinger.Account | None = None
    rels: tuple[str, ...] = ()

    def answer(self, context: AnswerContext) -> Answer:
        """The response."""
        return self.site.answer(self, context)


class Refused(NamedTuple):
    """A request that is refused before anybody is looked up; without an error, one that is not understood yet."""

    site: "Site"
    form: str
    request: Request | None = None  # None for one that cannot be parsed
    error: HttpError = malformed(MALFORMED)

    def answer(self, context: AnswerContext) -> Answer:
        """The response."""
        return self.site.error(self.error, self.form)


class Site:
    """Answers requests by one configuration. All threads share one; only ``first_seen`` changes, which has a lock."""

    def __init__(self, active: ActiveConfig, options: Http, host_name: str, first_seen: feeds.FirstSeen) -> None:
        self.options = options
        self._ruip = active.ruip
        self._people = People(active.ruip, active.config.reply.colors)
        self._first_seen = first_seen
        self._budget = active.limits.reply_bytes
        self._charset = CHARSETS[active.config.reply.charset]
        self._base_url = options.base_url or ""
        self._answers: dict[str, Callable[[Asked, Rule, AnswerContext], Answer]] = {
            "home": self._home,
            "person": self._person,
            "list": self._list,
            "webfinger": self._webfinger,
            "robots": self._robots,
            "style": self._style,
        }
        self.title = options.title or options.host or host_name
        self._pages = Pages(self.title, active.limits.query_bytes, self._budget, bool(options.base_url))

    def answer(self, asked: Asked, context: AnswerContext) -> Answer:
        """The response; a failing backend is logged, and the client learns nothing of the cause."""
        try:
            if asked.form == "feed" and not self._base_url:
                raise HttpError(HTTPStatus.NOT_FOUND, "Feeds need base_url", "unknown")
            return self._answers[asked.route.kind](asked, asked.rule, context)
        except HttpError as error:
            return self.error(error, asked.form)
        except BackendError as error:
            log.warning("backend failed: %s", error)
            return self.failure("error", asked.form)

    def error(self, error: HttpError, form: str) -> Answer:
        """The response to a request that gets no page."""
        return self._failed(error.status, error.outcome, error.text, form, *error.headers)

    def failure(self, outcome: str, form: str) -> Answer:
        """The response where there is no answer: ``busy``, or ``error``."""
        return self._failed(STATUS_OF[outcome], outcome, SERVICE_BUSY if outcome == "busy" else INTERNAL_ERROR, form)

    def _failed(self, status: HTTPStatus, outcome: str, text: str, form: str, *headers: Header) -> Answer:
        if form == "jrd":
            headers = (*headers, CORS)
        if form in ("json", "jrd"):
            return self._respond(status, outcome, JSON, _encoded({"error": text}), *headers)
        if form in ("text", "feed"):
            return self._respond(status, outcome, TEXT, encode_reply(text), *headers)
        return self._page(status, outcome, self._pages.error(status, text, may_ask=outcome != "denied"), *headers)

    def _respond(self, status: HTTPStatus, outcome: str, content_type: str, body: bytes, *headers: Header) -> Answer:
        return respond(status, outcome, content_type, body, *headers, is_indexed=self.options.index)

    def _page(self, status: HTTPStatus, outcome: str, html: str, *headers: Header) -> Answer:
        return self._respond(status, outcome, HTML, html.encode(errors="replace"), *headers)

    # The kinds of routes.

    def _robots(self, asked: Asked, rule: Rule, context: AnswerContext) -> Answer:
        text = f"User-agent: *\n{'Allow' if self.options.index else 'Disallow'}: /\n"
        return self._respond(HTTPStatus.OK, "answered", TEXT, text.encode())

    def _style(self, asked: Asked, rule: Rule, context: AnswerContext) -> Answer:
        return self._respond(HTTPStatus.OK, "answered", "text/css; charset=utf-8", STYLE.encode())

    def _home(self, asked: Asked, rule: Rule, context: AnswerContext) -> Answer:
        people = self._people.listed(rule, context) if rule.list else None
        html = self._pages.home(people, searches=self._ruip.disclosure.may_search(rule))
        return self._page(HTTPStatus.OK, "answered", html)

    def _person(self, asked: Asked, rule: Rule, context: AnswerContext) -> Answer:
        if asked.form == "text":
            answer = self._ruip.answer_query(asked.query, rule, context, forwards=False)
            return self._text(answer.outcome, answer.reply)
        found = self._people.find(asked.query, rule, context)
        searches = self._ruip.disclosure.may_search(rule)
        if found.outcome == "unknown" and asked.form == "page":
            html = self._pages.unknown(NO_SUCH_USER, asked.query.text, searches=searches, is_listed=rule.list)
            return self._page(HTTPStatus.NOT_FOUND, "unknown", html)
        if found.outcome != "answered":
            text = FAILURE_TEXTS[found.outcome]
            return self._failed(STATUS_OF[found.outcome], found.outcome, text, asked.form)
        if asked.form == "feed":
            name, path = asked.query.text, person_path(asked.query.text)
            if len(found.people) == 1:
                name = found.people[0].name or found.people[0].login or name
            return self._feed(found.people, f"{path}/feed", path, f"{name} · {self.title}")
        if asked.form == "json":
            return self._json(found.people)
        html = self._pages.person(found.people, asked.query.text, searches=searches)
        return self._page(HTTPStatus.OK, "answered", html)

    def _list(self, asked: Asked, rule: Rule, context: AnswerContext) -> Answer:
        if asked.form == "text":
            answer = self._ruip.answer_query(Query(), rule, context)
            return self._text(answer.outcome, answer.reply)
        if not rule.list:
            people = None
        elif asked.form == "feed":
            people = self._people.with_plans(rule, context)
        else:
            people = self._people.listed(rule, context)
        if people is None:
            return self._failed(HTTPStatus.FORBIDDEN, "refused", LIST_DENIED, asked.form)
        return self._feed(people, "/feed", "/", self.title) if asked.form == "feed" else self._json(people)

    def _webfinger(self, asked: Asked, rule: Rule, context: AnswerContext) -> Answer:
        person = self._people.of_account(asked.account, rule, context) if asked.account else None
        links = parse_links(person.links, self._profile_url(person)) if person else ()
        if not asked.account or not person or not links:
            return self.error(HttpError(HTTPStatus.NOT_FOUND, NO_SUCH_USER, "unknown"), "jrd")
        body = webfinger.descriptor(asked.account, links, self._profile_url(person), asked.rels)
        return self._respond(HTTPStatus.OK, "answered", webfinger.CONTENT_TYPE, body, CORS)

    # What these have in common.

    def _text(self, outcome: str, reply: bytes) -> Answer:
        return self._respond(STATUS_OF[outcome], outcome, f"text/plain; charset={self._charset}", reply)

    def _json(self, people: Sequence[Person] | Iterator[Person]) -> Answer:
        def encoded(person: Person, max_characters: int) -> str:
            return json.dumps(person_json(person, self._profile_url(person), max_characters), ensure_ascii=False)

        budget = self._budget - _JSON_BYTES
        items, truncated = fitting(people, encoded, lambda item: size_of_text(item) + 2, budget)
        if items and size_of_text(items[0]) > budget:  # even without its texts
            items, truncated = [], True
        end = ', "truncated": true' if truncated else ""
        body = f'{{"people": [{", ".join(items)}]{end}}}\n'
        return self._respond(HTTPStatus.OK, "answered", JSON, body.encode(errors="replace"))

    def _feed(self, people: Iterable[Person], path: str, page: str, title: str) -> Answer:
        source = feeds.Source(self._base_url, path, page, title)
        body = feeds.feed(people, self._first_seen, source, self._budget)
        return self._respond(HTTPStatus.OK, "answered", feeds.CONTENT_TYPE, body)

    def _profile_url(self, person: Person) -> str:
        return f"{self._base_url}{person_path(person.login)}" if self._base_url and person.login else ""


def _encoded(document: Json) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode() + b"\n"
