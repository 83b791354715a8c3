# SPDX-License-Identifier: Apache-2.0
"""One event, delivered as a vendor would; signed GitHub's way unless headers are given."""
import json

import sign
import wire
from server import SECRET, until
from zone import Reader


def event(ident, **more):
    return json.dumps({"id": ident, **more}).encode()


def deliver(server, body, path="/hooks/github", headers=None, method="POST", also=(), timeout=20.0):
    if isinstance(body, str):
        body = event(body)
    if headers is None:
        headers = sign.github(SECRET, body)
    return wire.once(server.port, method, path, [*headers, *also], body, timeout=timeout)


def accepted(server, body, **kw):
    """Delivers and insists on a 2xx."""
    res = deliver(server, body, **kw)
    if not 200 <= res.status < 300:
        raise AssertionError(f"a 2xx was expected: {res}")
    return res


def wait_landed(server, ident, timeout=20.0):
    """Waits until an event can be read in the zone, in whichever source."""
    reader = Reader(server.zone)
    until(f"{ident} lands", lambda: any(c[ident] for c in reader.scan().values()), timeout)
