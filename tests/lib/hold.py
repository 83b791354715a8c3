# SPDX-License-Identifier: Apache-2.0
"""Calls of the server that a story holds until it lets go of them: tests/e2e/holding.c by LD_PRELOAD.

    hold = Hold(server)                          # before the server starts
    hold.on("stage")                             # each staged file waits before it is made durable
    hold.comes("stage", 1)                       # waits until the first one does
    hold.off("stage")                            # whatever comes now is not held
    hold.let_go("stage", 1)                      # and the first one goes on
"""
import fcntl
import os

import case
from server import binary, preload, until


def module():
    """Built beside the stories; ctest says where."""
    path = os.environ.get("MRT_HOLDING") or os.path.join(os.path.dirname(binary()), "tests", "e2e", "libholding.so")
    if not os.path.exists(path):
        raise case.Skip(f"no {path}: build the tests, or say where it is by MRT_HOLDING")
    return path


class Hold:
    def __init__(self, server):
        self.folder = server.home.at("hold")
        os.makedirs(self.folder)
        server.extra_env.update({"LD_PRELOAD": preload(module()), "MRT_HOLD": self.folder})

    def at(self, what):
        return os.path.join(self.folder, what)

    def on(self, what):
        open(self.at(what), "w", encoding="ascii").close()

    def off(self, what):
        """Whoever is held now has been seen to come."""
        with open(self.at(what), encoding="ascii") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            os.unlink(self.at(what))

    def held(self, what, n):
        return os.path.exists(self.at(f"{what}.{n}"))

    def comes(self, what, n, timeout=30.0):
        """Waits until the n-th call since the process began that was to be held is held."""
        until(f"call {n} of {what} comes", lambda: self.held(what, n), timeout)

    def let_go(self, what, n):
        os.unlink(self.at(f"{what}.{n}"))

    def let_all_go(self, what):
        self.off(what)
        for name in os.listdir(self.folder):
            if name.startswith(what + "."):
                os.unlink(self.at(name))
