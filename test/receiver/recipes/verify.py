"""Is a request really from your database? Standard Webhooks (profiles entity, standard,
cloudevents and website_toolbox), with nothing but Python's standard library."""
import base64
import hashlib
import hmac
import json
import sys
import time


def verify(secret, headers, body, tolerance_seconds=300):
    """headers: names in lower case; body: the raw bytes, exactly as they came"""
    event_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature", "")
    if not event_id or not (timestamp.isascii() and timestamp.isdigit()):
        return False
    if abs(time.time() - int(timestamp)) > tolerance_seconds:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{event_id}.{timestamp}.".encode() + body
    right = b"v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    # one entry per secret that is live: any may match
    return any(hmac.compare_digest(entry.encode(), right) for entry in signatures.split(" "))


# python3 verify.py SECRET HEADERS.json BODY [TOLERANCE]: ends with 0 if it is right, else with 1
if __name__ == "__main__":
    with open(sys.argv[2]) as h, open(sys.argv[3], "rb") as b:
        right = verify(sys.argv[1], json.load(h), b.read(), *map(int, sys.argv[4:]))
    sys.exit(0 if right else 1)
