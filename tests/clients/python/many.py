"""Many clients of Centrifugo's official library for Python, unmodified: `many.py URL SECRET COUNT FIRST CHANNELS`.

Each is subscribed to two channels. `subscribed` is said once all are; a line of standard input says where each channel ends;
then each client waits until it has all of it, and a line of JSON says what came. An offset that is not the next one is wrong.
"""

import asyncio
import json
import sys
import time

from centrifuge import Client, ClientEventHandler, SubscriptionEventHandler

from shared import token

URL, SECRET = sys.argv[1:3]
COUNT, FIRST, CHANNELS = map(int, sys.argv[3:6])

last = {}
ready = set()
report = {"received": 0, "subscribed": 0, "failures": []}


class Followed(SubscriptionEventHandler):
    def __init__(self, key):
        self.key = key

    async def on_subscribed(self, ctx):
        report["subscribed"] += 1
        ready.add(self.key)
        if ctx.was_recovering and not ctx.recovered:
            report["failures"].append(f"{self.key} is not recovered")

    async def on_unsubscribed(self, ctx):
        report["failures"].append(f"{self.key} is unsubscribed: {ctx.code} {ctx.reason}")

    async def on_publication(self, ctx):
        offset = ctx.pub.offset
        if offset != last[self.key] + 1:
            report["failures"].append(f"{self.key}: {offset} after {last[self.key]}")
        last[self.key] = offset
        report["received"] += 1


class Told(ClientEventHandler):
    async def on_disconnected(self, ctx):
        report["failures"].append(f"a client is disconnected: {ctx.code} {ctx.reason}")


async def start(number):
    permitted = token(SECRET, f"python{number}", "subscribe:room/*")
    client = Client(URL, token=permitted, events=Told())
    await client.connect()
    for channel in (number % CHANNELS, (number + 3) % CHANNELS):
        key = f"{number} room/{channel}"
        last[key] = 0
        await client.new_subscription(f"room/{channel}", events=Followed(key)).subscribe()


async def main():
    await asyncio.gather(*(start(FIRST + index) for index in range(COUNT)))
    while len(ready) < len(last):
        await asyncio.sleep(0.05)
    print("subscribed", flush=True)
    ends = json.loads(await asyncio.to_thread(sys.stdin.readline))

    def lacking():
        return [(key, offset) for key, offset in last.items() if offset < ends[key.split(" ")[1]]]

    end = time.monotonic() + 120
    while lacking() and time.monotonic() < end:
        await asyncio.sleep(0.05)
    report["failures"] += [f"{key} ends at {offset}" for key, offset in lacking()]
    print(json.dumps(report), flush=True)


asyncio.run(main())
