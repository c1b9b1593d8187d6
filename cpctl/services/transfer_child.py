"""A transfer, in its own process: the order comes in, the family of its protocol carries it out.

Each family has a file beside this one and is imported only when it is needed.
"""

from pathlib import Path
from typing import Any

from cpctl.services.child import Told, serve
from cpctl.services.transfer_parts import Place, Sink, Source, Tell, named, place_of


def work(order: Told, tell: Tell) -> Told:
    place = place_of(order["url"])
    if order["act"] == "upload":
        return _upload(place, order, tell)
    return _download(place, order, tell)


def _upload(place: Place, order: Told, tell: Tell) -> Told:
    source = Source(Path(order["file"]), tell)
    try:
        with named():
            _family(place).upload(place, source, order)
    finally:
        source.close()
    return {"bytes": source.size}


def _download(place: Place, order: Told, tell: Tell) -> Told:
    sink = Sink(Path(order["file"]), place, int(order["limit_bytes"]), tell)
    try:
        with named():
            _family(place).download(place, sink, order)
            return {"bytes": sink.end()}
    finally:
        sink.keep()


def _family(place: Place) -> Any:
    if place.scheme in ("http", "https"):
        from cpctl.services import transfer_http

        return transfer_http
    if place.scheme in ("ftp", "ftps"):
        from cpctl.services import transfer_ftp

        return transfer_ftp
    from cpctl.services import transfer_sftp

    return transfer_sftp


if __name__ == "__main__":
    serve(work)
