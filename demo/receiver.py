#!/usr/bin/env python3
"""A receiver to look at webhooks with: prints each request and whether its signature is valid.

    python3 demo/receiver.py [--port 8080] [--status 200] [SECRET]

Listens on 127.0.0.1 only. Needs nothing but Python's standard library (3.8 or newer). SECRET is
what webhook.subscribe() returned (whsec_...); without it signatures are not checked. --status is
what it answers: 500 shows retries, 410 disables the subscription. Understands the signatures of
Standard Webhooks, which the profiles entity, standard, cloudevents and website_toolbox send.

This is for trying things out. docs/receiving.md has programs to build a receiver from.
"""
import argparse
import base64
import hashlib
import hmac
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOLERANCE = 300  # seconds that a request may be old, or the clocks apart


def verdict(secret, headers, body):
    """What is to be said of the signature; headers: names in lower case; body: the raw bytes."""
    event_id = headers.get("webhook-id")
    timestamp = headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature", "")
    if secret is None:
        return "signature not checked: no secret given"
    if not event_id or not signatures or not timestamp.isdigit():
        return "not signed"
    key = base64.b64decode(secret[len("whsec_"):])
    content = f"{event_id}.{timestamp}.".encode() + body
    right = "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    # while a secret is rotated there is a signature for each; one that matches is enough
    if not any(hmac.compare_digest(s.encode(), right.encode()) for s in signatures.split()):
        return "signature NOT VALID"
    if abs(time.time() - int(timestamp)) > TOLERANCE:
        return "signature valid, but too old"
    return "signature valid"


def handler(secret, status):
    printing = threading.Lock()  # requests come in parallel, their lines are not to mix

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept open

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with printing:
                print(f"{headers.get('webhook-id', '-')}  {verdict(secret, headers, body)}")
                print(body.decode("utf-8", "replace"), flush=True)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass  # the request itself is printed

    return Handler


def main():
    parser = argparse.ArgumentParser(description="prints the webhooks that arrive")
    parser.add_argument("secret", nargs="?", metavar="SECRET", help="from webhook.subscribe()")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--status", type=int, default=200, help="what to answer")
    args = parser.parse_args()
    if args.secret is not None and not args.secret.startswith("whsec_"):
        parser.error("SECRET begins with whsec_: it is what webhook.subscribe() returned")
    with ThreadingHTTPServer(("127.0.0.1", args.port), handler(args.secret, args.status)) as server:
        print(f"listening on http://127.0.0.1:{server.server_port}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            sys.exit(0)


if __name__ == "__main__":
    main()
