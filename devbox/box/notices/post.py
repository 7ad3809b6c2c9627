"""Posts what is due in the outbox, signed; a process of its own, so that neither a slow receiver
nor the imports of a request stay with the watchdog.

The request is that of the Standard Webhooks specification (standardwebhooks.com, version 1):
`webhook-id`, `webhook-timestamp` and `webhook-signature: v1,BASE64`, an HMAC-SHA256 of
`ID.TIMESTAMP.BODY` under the secret, which is base64 where it begins with `whsec_`.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import hmac
import json
import sys
import time
from typing import Dict, List, Optional

from devbox.box import event_log, http_request, json_file, paths
from devbox.box.address import is_readable
from devbox.box.notices import outbox
from devbox.box.notices.outbox import Answer
from devbox.box.watchdog import config
from devbox.wire.codec import clean, encode
from devbox.wire.messages import WatchdogConfig
from devbox.wire.notices import Notice, Posted, Webhook

TIMEOUT = 10.0  # seconds of silence
#: replies that say "not now"
_LATER = frozenset({0, 408, 409, 425, 429, *range(500, 600)})


def main(args: List[str]) -> int:
    """The verb. One posts at a time; another leaves at once, or with `wait` waits its turn."""
    root = paths.root()
    given = json_file.load(root / config.FILE, WatchdogConfig)
    webhook = given.notify.webhook if given else None
    if args == ["test"]:
        sys.stdout.buffer.write(encode(_test(given, webhook)))
        return 0
    if webhook is None:
        return 0
    with open(root / "outbox.lock", "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if args == ["wait"] else fcntl.LOCK_NB))
        except BlockingIOError:
            return 0
        for sentence in outbox.deliver(root, lambda notice: post(notice, webhook), time.time):
            print(sentence, file=sys.stderr)
            event_log.append(root, "notice-lost", sentence)
    return 0


def _test(given: Optional[WatchdogConfig], webhook: Optional[Webhook]) -> Posted:
    """Post a notice of nothing."""
    if given is None or webhook is None:
        return Posted(False, "no webhook is configured")
    now, notify = time.time(), given.notify
    text = f"{given.box}: a test from the box itself"
    notice = Notice(f"{notify.id}-test-{now:.3f}", now, "test", given.box, notify.project, text)
    answer = post(notice, webhook)
    return Posted(answer.ok, answer.detail)


def post(notice: Notice, webhook: Webhook) -> Answer:
    """One request. It never raises for what the network does."""
    if is_readable(webhook.url):
        return Answer(False, False, "the address is plain http")
    body = json.dumps({"version": 1, **notice._asdict()}).encode()
    reply = http_request.send(
        webhook.url,
        method="POST",
        body=body,
        headers={"Content-Type": "application/json", "User-Agent": "devbox"},
        secrets=signature(notice.id, int(time.time()), body, webhook.secret),
        timeout=TIMEOUT,
    )
    # Neither an address nor what its server says of it belongs into a log: either may be a secret.
    detail = f"HTTP {reply.status}" if reply.status else clean(reply.text.split(":")[0], 100)
    again = reply.status in _LATER
    return Answer(reply.ok, again, detail, _seconds(reply.after))


def signature(name: str, now: int, body: bytes, secret: str) -> Dict[str, str]:
    """The three headers; two without a secret."""
    headers = {"webhook-id": name, "webhook-timestamp": str(now)}
    if secret:
        signed = b".".join((name.encode(), str(now).encode(), body))
        found = hmac.new(key(secret), signed, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(found).decode()}"
    return headers


def key(secret: str) -> bytes:
    """The bytes of a secret as it is written."""
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret[len("whsec_") :], validate=True)
        except binascii.Error:
            pass  # why: a secret that only looks like one of theirs is taken as it is
    return secret.encode()


def _seconds(text: str) -> float:
    return float(text) if text.isdecimal() and len(text) < 6 else 0.0
