"""Centrifugo's official library for Python, unmodified, that only listens: `quiet.py URL TOKEN`. It says what happens until it
is ended.
"""

import asyncio
import sys

from centrifuge import Client, SubscriptionEventHandler


class Said(SubscriptionEventHandler):
    async def on_subscribed(self, ctx):
        print("subscribed", flush=True)

    async def on_publication(self, ctx):
        print(f"got {ctx.pub.offset}", flush=True)


async def main():
    url, token = sys.argv[1:]
    client = Client(url, token=token, min_reconnect_delay=0.05, max_reconnect_delay=0.5)
    await client.connect()
    await client.new_subscription("room/quiet", events=Said()).subscribe()
    await asyncio.Event().wait()


asyncio.run(main())
