"""Centrifugo's official library for Python, unmodified, against a stack: `centrifugo_client.py URL SECRET CUT`.

Prints a line for each thing that holds, and ends with 1 at the first that does not. A request to CUT cuts all sockets.
"""

import asyncio
import sys
import time
import urllib.request

from centrifuge import CentrifugeError, Client, ClientEventHandler

from shared import PATIENCE, Collected, run, token, until

URL, SECRET, CUT = sys.argv[1:4]
CHANNELS = 100


class Connections(ClientEventHandler):
    def __init__(self):
        self.count = 0

    async def on_connected(self, ctx):
        self.count += 1


async def connected(sub, connections=None):
    delays = {"min_reconnect_delay": 0.05, "max_reconnect_delay": 0.5}
    client = Client(URL, events=connections, token=token(SECRET, sub), timeout=PATIENCE, **delays)
    await client.connect()
    await client.ready(timeout=PATIENCE)
    return client


async def collect(client, channel):
    collected = Collected()
    subscription = client.new_subscription(channel, events=collected)
    await subscription.subscribe()
    return subscription, collected


def cut():
    urllib.request.urlopen(CUT).read()


async def it_gets_what_another_publishes_and_recovers_after_each_cut():
    connections = Connections()
    one, other = await connected("u1"), await connected("u2", connections)
    _, collected = await collect(one, "room/py")
    await until("a subscription", lambda: collected.subscribed)
    for turn in range(3):
        for number in range(5):
            await other.publish("room/py", {"number": number})
        await asyncio.to_thread(cut)
        # The library is `ready` until it has noticed the cut, and what it says until then is lost with the connection.
        await until("a new connection", lambda: connections.count > turn + 1)
        for number in range(5):
            await other.publish("room/py", {"number": number})
        await until("everything", lambda: len(collected.got) >= (turn + 1) * 10)
    await asyncio.sleep(0.5)
    assert [offset for offset, _ in collected.got] == list(range(1, 31)), collected.got
    assert all(ctx.recovered for ctx in collected.subscribed[1:]) and len(collected.subscribed) >= 2
    await one.disconnect()
    await other.disconnect()


async def it_is_refused_what_its_token_does_not_permit():
    client = await connected("u1")
    _, collected = await collect(client, "secret/a")
    await until("a refusal", lambda: collected.unsubscribed)
    assert collected.unsubscribed[0].code == 103
    try:
        await client.publish("secret/a", 1)
        raise AssertionError("it may publish")
    except CentrifugeError:
        pass
    await client.disconnect()


async def a_hundred_channels_are_subscribed_within_four_seconds_and_after_a_cut_too():
    client = await connected("u1")
    all_collected = []
    begin = time.monotonic()
    for number in range(CHANNELS):
        all_collected.append((await collect(client, f"room/{number}"))[1])
    await until("all subscriptions", lambda: all(collected.subscribed for collected in all_collected))
    first = time.monotonic() - begin
    await asyncio.to_thread(cut)
    begin = time.monotonic()
    await until("all again", lambda: all(len(collected.subscribed) > 1 for collected in all_collected))
    print(f"{CHANNELS} channels: {first:.1f} s, after a cut {time.monotonic() - begin:.1f} s")
    await client.disconnect()


async def main():
    checks = [
        it_gets_what_another_publishes_and_recovers_after_each_cut,
        it_is_refused_what_its_token_does_not_permit,
        a_hundred_channels_are_subscribed_within_four_seconds_and_after_a_cut_too,
    ]
    await run(checks)


asyncio.run(main())
