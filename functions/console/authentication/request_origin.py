"""Where a request comes from: which page sent it, by which name, and over which scheme."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from starlette.requests import Request

from functions.kit.errors import PermanentError


class Refused(PermanentError):
    """This request may not act; the text says why and what to do."""

    status = 403


def check_origin(request: Request, public: str = "") -> None:
    """Only a page of this console may send forms; a browser always says where one comes from.

    `public` is how browsers know the console; without it, by the host that it is called.
    """
    origin = urlsplit(request.headers.get("origin", ""))
    sender = f"{origin.scheme}://{origin.netloc}".lower()
    host = request.headers.get("host", "").lower()
    mine = sender == public.lower() if public else origin.netloc.lower() == host
    if not origin.netloc or not mine or is_from_elsewhere(request):
        raise Refused("This form was not sent from a page of this console.")


def is_from_elsewhere(request: Request) -> bool:
    return request.headers.get("sec-fetch-site") in ("cross-site", "same-site")


def peer_of(request: Request) -> str:
    """Who sent a request: the public address that the last proxy saw, else the next hop.

    What stands before that address in the header may be the sender's own invention. Of IPv6 it is
    the network of 64 bits, which one user has whole.
    """
    for given in reversed(request.headers.get("x-forwarded-for", "").split(",")):
        try:
            address = ip_address(given.strip())
        except ValueError:
            continue
        if address.is_global:
            return (
                str(ip_network((address, 64), strict=False))
                if address.version == 6
                else str(address)
            )
    return request.client.host if request.client else ""


def decoded_header(raw: str) -> str:
    """A name in a header, which is read as Latin-1 and is often UTF-8.

    >>> decoded_header("JosÃ©"), decoded_header("José")
    ('José', 'José')
    """
    try:
        return raw.encode("latin-1").decode().strip()
    except UnicodeError:
        return raw.strip()


def is_https(request: Request) -> bool:
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))
