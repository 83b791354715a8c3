# SPDX-License-Identifier: Apache-2.0
"""A false wall clock by libfaketime, which can be moved while the server runs; the monotonic clock stays true.

The offset stands in a file that libfaketime reads anew at every call, so Clock.set() is the NTP step of these tests.
"""
import datetime
import glob
import os

from server import preload

LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"
# A day is sealed soon after its end, and says so.
SEALING = {"zone": {"seal": True, "seal_after": "2s", "roll": {"age": "1s"}}}


def available():
    return bool(glob.glob(LIBRARY))


def until_midnight(seconds_before, now=None):
    """The offset, in seconds, that makes it `seconds_before` midnight UTC."""
    now = now or datetime.datetime.now(datetime.timezone.utc)
    midnight = (now + datetime.timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight - now).total_seconds() - seconds_before


def write(path, offset):
    with open(path + ".new", "w") as f:
        f.write(f"{offset:+.3f}\n")
    os.rename(path + ".new", path)


def environment(home, offset):
    """What a server needs to live `offset` seconds away from the true time."""
    path = home.at("clock")
    write(path, offset)
    return {"LD_PRELOAD": preload(glob.glob(LIBRARY)[0]), "FAKETIME_TIMESTAMP_FILE": path, "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1", "TZ": "UTC"}


class Clock:
    def __init__(self, home, offset):
        self.home, self.offset = home, offset
        self.env = environment(home, offset)

    def set(self, offset):
        self.offset = offset
        write(self.home.at("clock"), offset)

    def now(self):
        return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=self.offset)

    def today(self):
        return self.now().strftime("%Y-%m-%d")
