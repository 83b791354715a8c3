#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A webhook receiver on aiohttp as a careful developer writes it. Takes events and forgets them.

For tests/e2e/hostile.py --peer. usage: aiohttp_peer.py PORT SECRET        needs: pip install aiohttp
"""
import hashlib
import hmac
import json
import sys
import zlib

from aiohttp import web

LIMIT = 1 << 20


def refuse(status, error, **headers):
    return web.Response(status=status, text=json.dumps({"error": error}) + "\n", content_type="application/json",
                        headers=headers)


def unpack(body):
    """All members of a gzip body, bounded. ValueError: it is none; OverflowError: too large."""
    out = b""
    while body:
        member = zlib.decompressobj(31)
        out += member.decompress(body, LIMIT + 1 - len(out))
        if len(out) > LIMIT:
            raise OverflowError
        if not member.eof:
            raise ValueError
        body = member.unused_data
    return out


async def receive(request):
    if request.path != "/hooks/github":
        return refuse(404, "no such route")
    if request.method != "POST":
        return refuse(405, "method not allowed", Allow="POST")
    coding = request.headers.get("Content-Encoding", "").lower()
    if coding not in ("", "identity", "gzip", "x-gzip"):
        return refuse(415, "content coding not supported")
    if (request.content_length or 0) > LIMIT:
        return refuse(413, "body too large")
    body = await request.read()
    mac = "sha256=" + hmac.new(sys.argv[2].encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(mac.encode(), request.headers.get("X-Hub-Signature-256", "").encode("latin-1", "replace")):
        return refuse(401, "signature does not match")
    try:
        unpack(body if "gzip" in coding else b"")
    except OverflowError:
        return refuse(413, "body too large once decoded")
    except (ValueError, zlib.error):
        return refuse(400, "body is not gzip")
    return web.Response(status=204)


def main():
    app = web.Application(client_max_size=LIMIT, handler_args={"auto_decompress": False})
    app.router.add_route("*", "/{path:.*}", receive)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]))


if __name__ == "__main__":
    main()
