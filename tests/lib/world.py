# SPDX-License-Identifier: Apache-2.0
"""Where a campaign's state and zone lie: SQLite and a folder, or real servers that are started for it and can be killed."""
import contextlib
import os
import random
import sys
import tempfile

import case
from postgres import Postgres
from s3 import Store


class World:
    def __init__(self, postgres=None, store=None):
        self.postgres, self.store = postgres, store

    @property
    def name(self):
        return ("-postgres" if self.postgres else "") + ("-s3" if self.store else "")

    def servers(self):
        return [s for s in (self.postgres, self.store) if s]

    def staged(self, zone):
        """What is staged and not published: files, or uploads that nobody has completed."""
        if self.store:
            return self.store.uploads()
        return [os.path.join(folder, name) for folder, _, names in os.walk(os.path.join(zone, "_staging")) for name in names if name.endswith(".part")]


@contextlib.contextmanager
def ending(name):
    """How a campaign ends: skipped, or with what it found."""
    try:
        yield
    except case.Skip as e:
        sys.exit(case.skipped(str(e)))
    except AssertionError as e:
        sys.exit(f"{name}: {e}")


def arguments(ap):
    ap.add_argument("--seed", type=int, default=random.SystemRandom().randint(1, 10 ** 6))
    ap.add_argument("--state", choices=("sqlite", "postgres"), default="sqlite")
    ap.add_argument("--zone", choices=("file", "s3"), default="file")


@contextlib.contextmanager
def world(args):
    """Sets what lib/server.config goes by; case.Skip if a server is not to be had."""
    with contextlib.ExitStack() as stack:
        w = World()
        if args.state == "postgres":
            w.postgres = Postgres()
            stack.callback(w.postgres.stop)
            os.environ["MRT_STATE"] = w.postgres.url
        if args.zone == "s3":
            w.store = Store(stack.enter_context(tempfile.TemporaryDirectory(prefix="mr-s3.")), "zone")
            stack.callback(w.store.stop)
            os.environ.update(w.store.environment())
        yield w
