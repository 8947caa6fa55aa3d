"""Where requests go, and which data may go there: the one gate that everything passes that leaves this machine."""

import os
import re
import socket
from collections.abc import Iterable
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

from pydantic import TypeAdapter, ValidationError

from retinal_lib.dataset import page
from retinal_lib.dataset.page import MaySend, Page
from retinal_lib.errors import UserError
from retinal_lib.files import read_object

DEFAULT_SERVER = "https://api.openai.com/v1"
_HEADER = re.compile(r"[\w-]+:[\x20-\x7e\t]*", re.ASCII)
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}$)({_LABEL}\.)*{_LABEL}\.?", re.IGNORECASE)
_LONGEST_ADDRESS = 2_000  # characters
_EXAMPLE = "expected an address such as http://localhost:8000/v1"


class Terms(NamedTuple):
    """What a dataset's terms say of sending its data elsewhere; `terms` is the end of a sentence, `why` says why they hold
    where nobody named the dataset."""

    name: str
    may_send: MaySend
    licence: str
    terms: str
    why: str = ""


KEEPS_NOTHING = "keeps nothing"
Accepted = bool | Literal["keeps nothing"]  # the user's word: she may send it; the receiver keeps nothing of it, too
_LIKE = "pictures are named like its own; give them other names if they are not"
UNKNOWN = Terms(
    "a dataset that retinal_lib does not know",
    "ask",
    "terms not known",
    "make sure that the pictures and texts may be sent there",
)


class Permission(NamedTuple):
    """Leave for data to go to one address, or into request files; made by `permission` alone. A server sends nothing without
    one."""

    address: str


def permission(terms: Iterable[Terms], accepted: Accepted, into_files: bool = False) -> Permission:
    """Returns leave for data under these `terms` to go to the server of OPENAI_BASE_URL, or into request files that are carried
    elsewhere by hand. `accepted`: the user says that she may send it; "keeps nothing", that whoever gets it keeps nothing.

    UserError: the terms of a dataset forbid it, or need the user's word."""
    to = address()
    carried = into_files and has_no_address()  # the files may go anywhere
    for each in sorted(set(terms), key=lambda t: t.may_send != "no"):  # what no word of the user changes comes first
        name = f"{each.name} ({each.why})" if each.why else each.name
        about = f"({each.licence}): {each.terms}"
        if each.may_send == "no" and not carried and not is_loopback(to):
            raise UserError(f"{name} may not be sent to a remote server {about}")
        if each.may_send == "local" and not carried and not is_loopback(to) and accepted != KEEPS_NOTHING:
            raise UserError(
                f"{name} may be sent to a remote server only if nobody keeps anything of it there {about}; if that is agreed "
                f"with whoever runs it, or it is your own, pass terms_accepted='{KEEPS_NOTHING}'"
            )
        if each.may_send != "yes" and not accepted and into_files:
            raise UserError(
                f"request files of {name} contain facts about its images {about}; if you send them only to machines where this "
                "data may be, pass terms_accepted=True"
            )
        if each.may_send != "yes" and not accepted and not is_loopback(to):
            raise UserError(
                f"{name} may be sent to a remote server only with permission {about}; if you have it, pass terms_accepted=True"
            )
    return Permission(to)


def terms_of(of: Page, names: Iterable[str] = ()) -> set[Terms]:
    """Returns the terms that hold for a dataset's images of these names. A published dataset has its own. A page or table of
    the user's has those it states, and those of a published dataset of its name or else of each whose pictures bear such
    names: a copy under another title keeps the terms."""
    if of.file is None:
        return {_terms(of)}
    same = {_terms(each) for each in published(of.name)} or {_terms(each, _LIKE) for name in names for each in _like(name)}
    return {_terms(of)} | same


def terms_of_picture(name: str, dataset: str = "") -> set[Terms]:
    """Returns the terms that hold for a picture by its file name and the dataset that it is said to be of, if any: those of
    that dataset where its pictures bear such names, else of each that it may be of. UserError: `dataset` is a page that
    cannot be read."""
    if dataset.casefold().endswith((".yaml", ".yml")):
        return terms_of(page.get(dataset), [name])
    stated = published(dataset)
    if certain := [each for each in stated if _bears(name, each)]:
        return {_terms(each) for each in certain}
    like = _like(name)
    known = any(each.distinctive_names for each in like)
    return {_terms(each) for each in stated} | {_terms(each, _LIKE) for each in like} | (set() if known else {UNKNOWN})


def terms_of_run(manifest: Path) -> set[Terms]:
    """Returns the terms of the dataset of a run: as its manifest.json states them, and those of a published dataset of that
    name. UserError: the file states none."""
    try:
        of = read_object(manifest)["dataset"]
        stated = (of["name"], of["may_send"], of["licence"], of.get("terms") or f"as {manifest} states")
        terms = TypeAdapter(Terms).validate_python(stated)
        return {terms} | {_terms(each) for each in published(terms.name)}
    except (UserError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise UserError(
            f"{manifest} does not state the terms of its run's dataset ({error}); remove it, or make the run again"
        ) from error


def _terms(of: Page, why: str = "") -> Terms:
    return Terms(of.name, of.may_send, of.licence, of.terms, why)


def published(name: str) -> list[Page]:
    """Returns the published datasets that a name may mean, however it is spelled.

    >>> [page.name for spelling in ("messidor-2", "UK Biobank", "ODIR-5K", "my eyes") for page in published(spelling)]
    ['Messidor2', 'UK', 'ODIR']
    """
    folded = _fold(name)
    known = [(each, [_fold(alias) for alias in (each.name, *each.aliases)]) for each in _pages()]
    if same := [each for each, names in known if folded in names]:
        return same
    # "ODIR-5K", "idrid2018": a short name may be the start of another word
    return [each for each, names in known if any(len(n) > 3 and folded.startswith(n) for n in names)]


def _fold(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


@cache
def _pages() -> tuple[Page, ...]:
    return tuple(map(page.get, page.names()))


def _bears(name: str, of: Page) -> bool:
    """Whether a picture's name is like those of a dataset."""
    stem = re.split(r"[/\\]", name)[-1].rsplit(".", 1)[0]
    # participants' pictures keep their names as a part of those of crops and copies
    pattern = rf"(?<![^\W_])(?:{of.image.strip('^$')})(?![^\W_])" if of.distinctive_names else of.image
    return bool(re.search(pattern, stem, re.IGNORECASE))


def _like(name: str) -> list[Page]:
    if re.fullmatch(r"(.*[/\\])?\d{1,6}(\.[^./\\]*)?", name):  # a short number is anyone's
        return []
    return [each for each in _pages() if _bears(name, each)]


# --- addresses ----------------------------------------------------------------------------------------------------------


def address() -> str:
    """Returns the OpenAI-compatible server's address from OPENAI_BASE_URL. UserError: it is no http address or has a login."""
    url = os.environ.get("OPENAI_BASE_URL", "").strip().rstrip("/") or DEFAULT_SERVER
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and _is_host(parts.hostname or "") and parts.port != 0  # or a ValueError
    except ValueError as error:
        raise UserError(f"OPENAI_BASE_URL is {without_login(url)!r} ({error}); {_EXAMPLE}") from error
    if not usable or len(url) > _LONGEST_ADDRESS or re.search(r"[\s\x00-\x1f\ud800-\udfff]", url):
        raise UserError(f"OPENAI_BASE_URL is {without_login(url)!r}; {_EXAMPLE}")
    if parts.username is not None:
        raise UserError(f"OPENAI_BASE_URL {without_login(url)} holds a login; leave it out and set the key as OPENAI_API_KEY")
    return url


def _is_host(host: str) -> bool:
    """Whether a text is the name or the number of a machine: `0177.0.0.1` is read in several ways, and is neither."""
    try:
        return bool(ip_address(host))
    except ValueError:
        return bool(_HOST.fullmatch(host)) and not host.rstrip(".").rpartition(".")[2].isdigit()


def has_no_address() -> bool:
    """Says whether no address is set, so that request files may go anywhere."""
    return not os.environ.get("OPENAI_BASE_URL", "").strip()


def is_loopback(address: str) -> bool:
    """Says whether an address can only be this machine."""
    host = urlsplit(address).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return _is_localhost(host)


def _is_localhost(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def connect_to(address: str) -> tuple[str, dict[str, str]]:
    """Returns the address to connect to, and the headers that go with it. `localhost` becomes a loopback number here, since a
    hosts file or a name server could lead it to another machine."""
    parts = urlsplit(address)
    if not _is_localhost(parts.hostname or ""):
        return address, {}
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = "127.0.0.1" if _listens("127.0.0.1", port) or not _listens("::1", port) else "[::1]"
    numbered = SplitResult(parts.scheme, f"{host}:{port}", parts.path, parts.query, "")
    return numbered.geturl(), {"Host": parts.netloc}


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def without_login(address: str) -> str:
    """Returns an address, or a text with addresses, without user name, password and query."""
    return re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", re.sub(r"//[^/@]*@", "//", address))


def key() -> str:
    """Returns the key from OPENAI_API_KEY, "" where there is none. UserError: it, or another text of the environment that
    stands at the head of each request, holds a character that cannot stand there."""
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        _word(name, "; copy it again, or remove it")
    for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines():
        if line.strip() and not _HEADER.fullmatch(line.strip()):
            raise UserError("OPENAI_CUSTOM_HEADERS holds a line that is no header such as X-Team: retina; mend or remove it")
    return _word("OPENAI_API_KEY", ", which no key has; copy the key again (word processors change hyphens)")


def _word(name: str, advice: str) -> str:
    """A word of the environment. UserError: it holds a blank, or a character that is not in ASCII."""
    text = os.environ.get(name, "").strip()
    if odd := re.search(r"[^\x21-\x7e]", text):
        raise UserError(f"{name} holds {odd[0]!r} as character {odd.start() + 1}{advice}")
    return text
