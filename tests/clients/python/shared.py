"""What the programs for Centrifugo's libraries share."""

import asyncio
import base64
import hashlib
import hmac
import json
import sys
import time
import traceback

from centrifuge import SubscriptionEventHandler

# A machine may be busy: what is too slow for the library's own five seconds would begin all over again.
PATIENCE = 60.0


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def token(secret, sub, permissions="subscribe:room/* publish:room/*"):
    claims = {"sub": sub, "exp": int(time.time()) + 600, "permissions": permissions}
    body = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}"
    digest = hmac.new(secret.encode(), body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


class Collected(SubscriptionEventHandler):
    def __init__(self):
        self.got, self.subscribed, self.unsubscribed = [], [], []

    async def on_publication(self, ctx):
        self.got.append((ctx.pub.offset, ctx.pub.data))

    async def on_subscribed(self, ctx):
        self.subscribed.append(ctx)

    async def on_unsubscribed(self, ctx):
        self.unsubscribed.append(ctx)


async def until(what, test, patience=PATIENCE):
    end = time.monotonic() + patience
    while not test():
        assert time.monotonic() < end, f"not within {patience} s: {what}"
        await asyncio.sleep(0.02)


async def run(checks):
    """Prints a line for each thing that holds, and ends with 1 at the first that does not."""
    for check in checks:
        try:
            await check()
            print(f"ok {check.__name__}", flush=True)
        except BaseException:
            print(f"not ok {check.__name__}: {traceback.format_exc()}", flush=True)
            sys.exit(1)
