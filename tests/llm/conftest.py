"""A form to ask for, and a server on loopback that answers as badly as a test wants."""

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import pytest
from pydantic import BaseModel

from mmdrex.llm import Message, Request
from mmdrex.llm.answers import Text


class Verdict(BaseModel):
    reason: Text
    action: Literal["BUY", "HOLD", "SELL"]


@pytest.fixture
def request_of():
    """Return a function from a text to a request for a verdict."""

    def make(text="What now?", images=()):
        messages = (Message("system", "You trade."), Message("user", text, images))
        return Request("test.verdict", messages, Verdict)

    return make


def completion(text):
    return json.dumps(
        {
            "choices": [{"message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20},
        }
    ).encode()


class Server:
    """Answers the requests with the given scripts in turn, the last one for all that follow."""

    def __init__(self):
        self.scripts, self.bodies = [], []
        self.release = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers["content-length"])
                outer.bodies.append(json.loads(self.rfile.read(length)))
                script = outer.scripts.pop(0) if len(outer.scripts) > 1 else outer.scripts[0]
                script(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def says(self, text):
        return self.sends(completion(text))

    def sends(self, body, status=200, headers=()):
        def script(handler):
            handler.send_response(status)
            handler.send_header("content-type", "application/json")
            handler.send_header("content-length", str(len(body)))
            for name, value in headers:
                handler.send_header(name, value)
            handler.end_headers()
            with suppress(OSError):  # the client hangs up on a huge reply
                handler.wfile.write(body)

        return script

    def hangs(self):
        return lambda handler: self.release.wait(20)

    def closes_in_the_middle(self):
        def script(handler):
            body = completion("a reply")
            handler.send_response(200)
            handler.send_header("content-type", "application/json")
            handler.send_header("content-length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body[:30])
            handler.wfile.flush()
            handler.connection.close()

        return script

    def drips(self):
        def script(handler):
            handler.send_response(200)
            handler.send_header("content-type", "application/json")
            handler.send_header("content-length", "1000000")
            handler.end_headers()
            with suppress(OSError):
                while not self.release.wait(0.05):
                    handler.wfile.write(b" ")
                    handler.wfile.flush()

        return script


@pytest.fixture
def server():
    made = Server()
    yield made
    made.release.set()
    made.http.shutdown()
    made.http.server_close()
