# SPDX-License-Identifier: Apache-2.0
"""Several servers on one state store, in Postgres, and one zone."""
import atexit
import contextlib
import functools
import random

from postgres import Postgres
from server import Home, Server, config, living


@functools.cache
def postgres():
    """One for all stories of a script, to its end; each fleet has a schema of its own."""
    one = Postgres()
    atexit.register(one.stop)
    return one


@contextlib.contextmanager
def fleet(*sources, **top):
    """A server for each of these, in a home of its own and not started yet; the zone is in the first one's."""
    store = postgres().at(postgres().port, f"t{random.SystemRandom().getrandbits(48):012x}")
    with contextlib.ExitStack() as stack:
        homes = [stack.enter_context(Home("mr-fleet")) for _ in sources]
        zone = {"url": "file:" + homes[0].at("zone")}
        servers = [Server(home, config(home, each, state=store, zone=zone, **top)) for home, each in zip(homes, sources)]
        with living(*servers):
            yield servers
