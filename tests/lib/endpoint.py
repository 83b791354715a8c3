# SPDX-License-Identifier: Apache-2.0
"""An HTTP server in the test's own process, that answers as the story says.

    class Teapot(Endpoint):
        def answer(self, method, path, headers, body):
            return 418, "short and stout"

    with Teapot() as pot:
        ... pot.url ...
"""
import contextlib
import http.server
import threading


class Endpoint:
    """Each connection has a thread of its own. It is there from the end of __init__() on, so who derives sets his own fields before."""

    content_type = None

    def __init__(self, port=0):
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                status, text = endpoint.answer(self.command, self.path, self.headers, body)
                with contextlib.suppress(OSError):  # who asked may be gone
                    self.send_response(status)
                    if endpoint.content_type:
                        self.send_header("Content-Type", endpoint.content_type)
                    self.send_header("Content-Length", str(len(text.encode())))
                    self.end_headers()
                    self.wfile.write(text.encode())

            do_GET = do_PUT = do_POST = do

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, method, path, headers, body):
        """(status, text)"""
        raise NotImplementedError

    def __enter__(self):
        return self

    def __exit__(self, *rest):
        self.stop()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
