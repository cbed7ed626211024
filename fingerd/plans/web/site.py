"""The site of one configuration: what is asked becomes a change of a person's plan, and a response."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

from fingerd.errors import ConfigError
from fingerd.http.masking import masked_line
from fingerd.http.options import Plan
from fingerd.http.pages import STYLE, render
from fingerd.http.request import HttpError, Request, malformed
from fingerd.http.response import HTML, TEXT, Header, respond
from fingerd.plans import store
from fingerd.plans.configuration import PlanConfig
from fingerd.plans.errors import (
    AbandonedError,
    ChangedError,
    LockedError,
    NotWrittenError,
    PlanError,
    TextError,
    TextTooLongError,
    UnknownPersonError,
    UsageError,
)
from fingerd.plans.places import Entry, open_entry
from fingerd.plans.store import PLAN, Stored
from fingerd.plans.web.conditions import Conditions
from fingerd.plans.web.credentials import Credentials, unauthorized
from fingerd.plans.web.locks import PersonLocks
from fingerd.plans.web.request import PlanRequest, form_fields
from fingerd.plans.web.routes import Route, edit_path
from fingerd.plans.whole_files import Commit
from fingerd.protocol.reply import INTERNAL_ERROR, SERVICE_BUSY
from fingerd.ruip.ruip import Answer, AnswerContext
from fingerd.text import to_nfc

log = logging.getLogger(__name__)

Change = Callable[[Entry, str | None, Commit], Stored | None]  # of the version, unless it is None

STORED = "stored"  # the query string of the form's page after a change
# The form's own requests tell by Origin where they come from, which "no-referrer" makes "null"; nothing is kept.
_HEADERS = (("Referrer-Policy", "same-origin"), ("Cache-Control", "no-store"))
_HINTS = {
    HTTPStatus.TOO_MANY_REQUESTS: "Wait a minute, then try again.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Wait some seconds, then try again.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The fault is not yours: try again later.",
}


class Asked(NamedTuple):
    """What one request asks of a site."""

    site: "PlanSite"
    form: str
    request: Request
    route: Route
    name: str
    change: PlanRequest
    user: str  # whom a proxy has signed in, empty for nobody
    commit: Callable[[], bool]  # called just before a change; false where the client has an answer already

    def answer(self, context: AnswerContext) -> Answer:
        """The response."""
        return self.site.answer(self, context)


class Refused(NamedTuple):
    """A request that is refused before anything is looked at."""

    site: "PlanSite"
    form: str
    request: Request | None = None  # None for one that cannot be parsed
    error: HttpError = malformed("Malformed request")
    edit: str = ""  # the path of the form that was sent, empty for none

    def answer(self, context: AnswerContext) -> Answer:
        """The response."""
        return self.site.error(self.error, self.form, self.edit)


class PlanSite:
    """Answers requests by one configuration. All threads share one, and what changes has locks of its own."""

    def __init__(
        self, config: PlanConfig, plan: Plan, title: str, credentials: Credentials, locks: PersonLocks
    ) -> None:
        self._config = config
        self._origin = origin_of(plan.base_url or "")
        self._has_tokens = bool(plan.tokens)
        self._has_users = bool(plan.remote_user)
        self._title = urlsplit(plan.base_url or "").hostname or title
        self._credentials = credentials
        self._locks = locks
        self._max_bytes = config.backend.file_bytes

    def answer(self, asked: Asked, context: AnswerContext) -> Answer:
        """The response; what fails here is logged, and the client learns nothing of the cause."""
        answers: dict[tuple[str, str], Callable[[Asked, AnswerContext], Answer]] = {
            ("plan", "PUT"): self._put,
            ("plan", "DELETE"): self._delete,
            ("edit", "POST"): self._post,
            ("style", "GET"): self._style,
            ("style", "HEAD"): self._style,
        }
        try:
            return answers.get((asked.route.kind, asked.request.method), self._edit)(asked, context)
        except HttpError as error:
            return self.error(error, asked.form)
        except ConfigError as error:  # of the file of tokens
            log.warning("%s", error)
            return self.failure("error", asked.form)

    def error(self, error: HttpError, form: str, edit: str = "") -> Answer:
        """The response to a request that is refused. It leads back to the form at ``edit``, which was not read."""
        return self._failed(error.status, error.outcome, error.text, form, *error.headers, edit=edit)

    def failure(self, outcome: str, form: str) -> Answer:
        """The response where there is no answer: ``busy``, or ``error``."""
        if outcome == "busy":
            return self._failed(HTTPStatus.SERVICE_UNAVAILABLE, outcome, SERVICE_BUSY, form)
        return self._failed(HTTPStatus.INTERNAL_SERVER_ERROR, outcome, INTERNAL_ERROR, form)

    def _failed(
        self, status: HTTPStatus, outcome: str, text: str, form: str, *headers: Header, edit: str = ""
    ) -> Answer:
        if form == "text":
            return respond(status, outcome, TEXT, f"{text}\n".encode(), *headers, *_HEADERS, etag="")
        values = {"asked": "", "is_listed": False, "may_ask": False, "home": "", "title": self._title}
        values |= {"edit": edit, "max_bytes": self._max_bytes}
        html = render("edit_error.html", text=text, hint=_HINTS.get(status, ""), **values)
        return respond(status, outcome, HTML, html.encode(errors="replace"), *headers, *_HEADERS, etag="")

    # What each address does.

    def _style(self, asked: Asked, context: AnswerContext) -> Answer:
        return respond(HTTPStatus.OK, "answered", "text/css; charset=utf-8", STYLE.encode())

    def _put(self, asked: Asked, context: AnswerContext) -> Answer:
        self._check_origin(asked)
        self._check_who(asked, asked.change.token, context)
        body = asked.change.body
        before, after = self._change(asked, lambda entry, version, commit: self._replace(entry, body, version, commit))
        tag = (
            after.version if after and after.data == body else ""
        )  # none of a text that was transformed: RFC 9110 9.3.4
        return self._changed(HTTPStatus.CREATED if before.data is None else HTTPStatus.NO_CONTENT, tag)

    def _delete(self, asked: Asked, context: AnswerContext) -> Answer:
        self._check_origin(asked)
        self._check_who(asked, asked.change.token, context)
        self._change(asked, lambda entry, version, commit: store.remove(entry, PLAN, version, commit))
        return self._changed(HTTPStatus.NO_CONTENT)

    def _edit(self, asked: Asked, context: AnswerContext) -> Answer:
        return self._form(HTTPStatus.OK, "answered", asked, is_stored=(STORED, "") in asked.request.fields)

    def _post(self, asked: Asked, context: AnswerContext) -> Answer:
        fields = form_fields(asked.change)
        text = fields.get("text")
        if text is None:
            raise malformed("The form has no field text")
        token = fields.get("token", b"").decode("latin-1").strip()
        self._check_origin(asked)
        try:
            self._check_who(asked, token or asked.change.token, context)
            self._change(asked, lambda entry, version, commit: self._replace(entry, text, version, commit))
        except HttpError as error:
            typed = text.decode(errors="replace")
            return self._form(error.status, error.outcome, asked, *error.headers, typed=typed, error=error)
        location = ("Location", f"{edit_path(asked.name)}?{STORED}")
        return respond(HTTPStatus.SEE_OTHER, "answered", TEXT, b"", location, *_HEADERS)

    # What these have in common.

    def _check_origin(self, asked: Asked) -> None:
        """HttpError (403) for a request that the page of another site has made a browser send.

        Whom a proxy signs in is signed in there, too. A request without a proxy's user changes nothing without a token,
        which that page does not have.
        """
        origin = asked.change.origin
        if self._has_users and (asked.user or origin) and origin_of(origin) != self._origin:
            raise HttpError(HTTPStatus.FORBIDDEN, "The request is not from a page of this site", "refused")

    def _check_who(self, asked: Asked, token: str, context: AnswerContext) -> None:
        """HttpError unless the request may change the plan of this name: 401, 403 or 429."""
        if asked.user:
            person = to_nfc(asked.user)
        elif token:
            person = self._credentials.person_of(token, context.limit_key)
        else:
            raise unauthorized("A token is needed", "refused")
        if person != asked.name:
            raise HttpError(
                HTTPStatus.FORBIDDEN, f"{masked_line(person)} may not change the plan of {asked.name}", "denied"
            )

    def _change(self, asked: Asked, change: Change) -> tuple[Stored, Stored | None]:
        """Change a plan; what was there before, and what ``change`` returns. HttpError if that is refused, or fails."""

        def commit() -> None:
            if not asked.commit():
                raise AbandonedError(f"{asked.name}: the client was told that there is no answer in time")

        conditions = Conditions(asked.change.if_match, asked.request.if_none_match)
        try:
            with self._locks.holding(asked.name), open_entry(self._config, asked.name) as entry:
                before = store.read(entry, PLAN)
                if not conditions.hold_for(before):
                    raise ChangedError(f"the plan of {asked.name} is not the one that the condition names")
                return before, change(entry, before.version if conditions else None, commit)
        except (PlanError, ConfigError, OSError) as error:
            raise _refusal(error, asked.name) from error

    def _replace(self, entry: Entry, text: bytes, version: str | None, commit: Commit) -> Stored:
        colors = self._config.settings.reply.colors
        return store.replace(entry, PLAN, text, colors=colors, expected=version, commit=commit)

    def _changed(self, status: HTTPStatus, version: str = "") -> Answer:
        return respond(status, "answered", TEXT, b"", *_HEADERS, etag=f'"{version}"' if version else "")

    def _form(
        self,
        status: HTTPStatus,
        outcome: str,
        asked: Asked,
        *headers: Header,
        typed: str = "",
        error: HttpError | None = None,
        is_stored: bool = False,
    ) -> Answer:
        html = render(
            "edit.html",
            title=self._title,
            home="",
            name=asked.name,
            action=edit_path(asked.name),
            user=masked_line(asked.user),
            has_tokens=self._has_tokens and not asked.user,
            max_bytes=self._max_bytes,
            typed=typed,
            problems=error.text.split("\n") if error else [],
            wrong=_field_of(error) if error else "",
            is_stored=is_stored,
        )
        return respond(status, outcome, HTML, html.encode(errors="replace"), *headers, *_HEADERS, etag="")


def _field_of(error: HttpError) -> str:
    """The field beside which a mistake is shown; empty for what is no mistake in a field."""
    if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS) or error.outcome == "denied":
        return "token"
    is_text = error.status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)
    return "text" if is_text else ""


def origin_of(url: str) -> str:
    """The origin of a URL as browsers write it (RFC 6454 6.2): without a port that is the scheme's own."""
    origin = url.lower()
    scheme, _, _ = origin.partition(":")
    return origin.removesuffix({"http": ":80", "https": ":443"}.get(scheme, "\0"))


def _refusal(error: PlanError | ConfigError | OSError, name: str) -> HttpError:
    """What a client is told of an error. What only the administrator can mend is logged, and not told."""
    if isinstance(error, UnknownPersonError | UsageError):
        return HttpError(HTTPStatus.NOT_FOUND, f"There is no {name} here whose plan could be changed", "unknown")
    if isinstance(error, TextTooLongError):
        return HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error), "too-long")
    if isinstance(error, TextError):
        return HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), "refused")
    if isinstance(error, ChangedError):
        return HttpError(HTTPStatus.PRECONDITION_FAILED, str(error), "refused")
    log.warning("the plan of %s was not changed: %s", name, error)
    if isinstance(error, LockedError | AbandonedError):
        return HttpError(HTTPStatus.SERVICE_UNAVAILABLE, SERVICE_BUSY, "busy")
    if isinstance(error, PlanError) and not isinstance(error, NotWrittenError):
        what = "may not be changed by this service; its log says why"
        return HttpError(HTTPStatus.FORBIDDEN, f"The plan of {name} {what}", "refused")
    what = "could not be stored, and is as it was; the log says why"
    return HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, f"The plan of {name} {what}", "error")
