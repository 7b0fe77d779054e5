"""Centrifugo's official library for servers in Python, unmodified, against a stack: `centrifugo_server.py URL SECRET CUT API KEY`.

All calls that it has, seen by clients of Centrifugo's library for Python. Prints a line for each thing that holds, and ends
with 1 at the first that does not.
"""

import asyncio
import base64
import sys
import time

from cent import (
    BatchRequest,
    BroadcastRequest,
    CentApiResponseError,
    CentTransportError,
    CentUnauthorizedError,
    ChannelsRequest,
    Client as Server,
    ConnectionsRequest,
    Disconnect,
    DisconnectRequest,
    HistoryRemoveRequest,
    HistoryRequest,
    InfoRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RefreshRequest,
    StreamPosition,
    SubscribeRequest,
    UnsubscribeRequest,
)
from centrifuge import Client, ClientEventHandler

from shared import PATIENCE, Collected, run, token, until

URL, SECRET, _, API, KEY = sys.argv[1:6]
server = Server(f"{API}/api", KEY)


class Told(ClientEventHandler):
    def __init__(self):
        self.got, self.subscribed, self.unsubscribed, self.left = [], [], [], []

    async def on_publication(self, ctx):
        self.got.append((ctx.channel, ctx.pub.data))

    async def on_subscribed(self, ctx):
        self.subscribed.append(ctx)

    async def on_unsubscribed(self, ctx):
        self.unsubscribed.append(ctx)

    async def on_disconnected(self, ctx):
        self.left.append(ctx)


class Followed(Collected):
    def __init__(self):
        super().__init__()
        self.joined, self.gone = [], []

    async def on_join(self, ctx):
        self.joined.append(ctx.info)

    async def on_leave(self, ctx):
        self.gone.append(ctx.info)


async def call(request):
    return await asyncio.to_thread(getattr(server, request.api_method), request)


async def refused(code, request):
    try:
        await call(request)
    except CentApiResponseError as error:
        assert error.code == code, error
        return error.message
    raise AssertionError(f"{request} is not refused")


async def connected(sub, handler=None, permissions="subscribe:room/*"):
    client = Client(URL, token=token(SECRET, sub, permissions), events=handler, min_reconnect_delay=0.05, max_reconnect_delay=0.5)
    await client.connect()
    await client.ready(timeout=PATIENCE)
    return client


async def subscribed(client, channel):
    collected = Collected()
    subscription = client.new_subscription(channel, events=collected)
    await subscription.subscribe()
    await until(f"the subscription of {channel}", lambda: collected.subscribed)
    return collected


async def it_publishes_and_is_told_where_that_stands():
    client = await connected("p1")
    collected = await subscribed(client, "room/p")
    first = await call(PublishRequest(channel="room/p", data={"n": 1}))
    assert first.offset == 1 and first.epoch, first
    keyed = [await call(PublishRequest(channel="room/p", data={"n": 2}, idempotency_key="k")) for _ in range(3)]
    assert [result.offset for result in keyed] == [2, 2, 2], keyed
    encoded = base64.b64encode(b'{"n":3}').decode()
    assert (await call(PublishRequest(channel="room/p", data=None, b64data=encoded))).offset == 3
    other = await call(PublishRequest(channel="room/q", data={"n": 2}, idempotency_key="k"))
    assert other.offset == 1, "a key counts for each channel by itself"
    await until("what was published", lambda: len(collected.got) >= 3)
    assert collected.got == [(1, {"n": 1}), (2, {"n": 2}), (3, {"n": 3})], collected.got
    await refused(108, PublishRequest(channel="room/p", data=1, skip_history=True))
    unlogged = await call(PublishRequest(channel="plain/p", data=1, skip_history=True))
    assert unlogged.offset == 0 and not unlogged.epoch, unlogged
    assert "tags" in await refused(108, PublishRequest(channel="room/p", data=1, tags={"a": "b"}))
    await refused(107, PublishRequest(channel="", data=1))
    await client.disconnect()


async def it_broadcasts_and_each_channel_has_an_answer_of_its_own():
    client = await connected("b1")
    one, other = await subscribed(client, "room/b1"), await subscribed(client, "room/b2")
    result = await call(BroadcastRequest(channels=["room/b1", "", "room/b2"], data={"all": True}))
    assert [response.error and response.error.code for response in result.responses] == [None, 107, None], result
    assert [response.result and response.result.offset for response in result.responses] == [1, None, 1], result
    await until("the broadcast", lambda: one.got and other.got)
    assert one.got == other.got == [(1, {"all": True})]
    await refused(107, BroadcastRequest(channels=[], data=1))
    await client.disconnect()


async def it_reads_and_removes_history():
    for number in range(5):
        await call(PublishRequest(channel="room/h", data=number))
    nothing = await call(HistoryRequest(channel="room/h"))
    assert nothing.offset == 5 and nothing.publications == [] and nothing.epoch, nothing
    page = await call(HistoryRequest(channel="room/h", limit=2, since=StreamPosition(offset=1, epoch=nothing.epoch)))
    assert [(one.offset, one.data) for one in page.publications] == [(2, 1), (3, 2)], page
    newest = await call(HistoryRequest(channel="room/h", limit=1, reverse=True))
    assert [one.offset for one in newest.publications] == [5], newest
    await refused(112, HistoryRequest(channel="room/h", limit=1, since=StreamPosition(offset=1, epoch="other")))
    await call(HistoryRemoveRequest(channel="room/h"))
    gone = await call(HistoryRequest(channel="room/h", limit=-1))
    assert gone.publications == [] and gone.offset == 5 and gone.epoch == nothing.epoch, gone
    assert (await call(PublishRequest(channel="room/h", data="next"))).offset == 6
    await refused(108, HistoryRequest(channel="plain/h"))
    await refused(108, HistoryRemoveRequest(channel="plain/h"))


async def it_sees_who_is_there():
    one, other = await connected("s1"), await connected("s2")
    await subscribed(one, "room/s")
    await subscribed(other, "room/s")
    here = (await call(PresenceRequest(channel="room/s"))).presence
    assert sorted(info.user for info in here.values()) == ["s1", "s2"], here
    assert all(name == info.client for name, info in here.items()), here
    stats = await call(PresenceStatsRequest(channel="room/s"))
    assert (stats.num_clients, stats.num_users) == (2, 2), stats
    await refused(108, PresenceRequest(channel="secret/s"))
    await refused(108, PresenceStatsRequest(channel="secret/s"))
    counted = (await call(ChannelsRequest(pattern="room/s"))).channels
    assert counted["room/s"].num_clients == 2, counted
    assert (await call(ChannelsRequest(pattern="room/nobody"))).channels == {}
    await refused(108, ChannelsRequest())
    [node] = (await call(InfoRequest())).nodes
    assert node.num_clients >= 2 and node.version, node
    await one.disconnect()
    await other.disconnect()


async def it_subscribes_a_user_and_unsubscribes_it():
    told, bystander = Told(), Told()
    client, other = await connected("u1", told), await connected("u2", bystander)
    await call(SubscribeRequest(user="u1", channel="secret/u", data={"why": "asked"}))
    await until("the subscription", lambda: told.subscribed)
    assert told.subscribed[0].channel == "secret/u", told.subscribed
    await call(PublishRequest(channel="secret/u", data="hello"))
    await until("a message", lambda: told.got)
    assert told.got == [("secret/u", "hello")], told.got
    await call(UnsubscribeRequest(user="u1", channel="secret/u"))
    await until("the end of it", lambda: told.unsubscribed)
    await call(PublishRequest(channel="secret/u", data="to nobody"))
    own = await subscribed(client, "room/u")
    await call(UnsubscribeRequest(user="u1", channel="room/u"))
    await until("the end of its own", lambda: own.unsubscribed)
    assert own.unsubscribed[0].code == 2000, own.unsubscribed
    assert len(told.got) == 1 and not bystander.subscribed, (told.got, bystander.subscribed)
    await refused(108, SubscribeRequest(user="u1", channel="c", recover_since=StreamPosition(offset=1, epoch="e")))
    await refused(107, SubscribeRequest(user="u1", channel=""))
    await refused(107, SubscribeRequest(user="", channel="c"))
    await client.disconnect()
    await other.disconnect()


async def it_disconnects_a_user_or_one_of_its_clients():
    first, second, kept = Told(), Told(), Told()
    one, other, third = await connected("d1", first), await connected("d1", second), await connected("d1", kept)
    await subscribed(other, "room/d")
    [name] = (await call(PresenceRequest(channel="room/d"))).presence
    await call(DisconnectRequest(user="d2", client=name))
    await call(DisconnectRequest(user="nobody"))
    await call(DisconnectRequest(user="d1", client=name))
    await until("the end of one", lambda: second.left)
    assert second.left[0].code == 3503 and not first.left and not kept.left
    await subscribed(third, "room/d")
    [name] = (await call(PresenceRequest(channel="room/d"))).presence
    await call(DisconnectRequest(user="d1", whitelist=[name], disconnect=Disconnect(code=4501, reason="maintenance")))
    await until("the end of the other", lambda: first.left)
    assert (first.left[0].code, first.left[0].reason) == (4501, "maintenance") and not kept.left
    await third.disconnect()


async def who_asks_for_it_is_told_which_clients_join_and_leave():
    client = await connected("j1", permissions="subscribe:room/* presence:room/*")
    curious = await connected("j2")
    both, denied = Followed(), Followed()
    for one, collected in [(client, both), (curious, denied)]:
        await one.new_subscription("room/j", events=collected, join_leave=True).subscribe()
        await until("a subscription", lambda: collected.subscribed)
    here = (await call(PresenceRequest(channel="room/j"))).presence
    await until("both to have come", lambda: {info.client for info in both.joined} == set(here))
    assert {info.user for info in both.joined} == {"j1", "j2"} and not both.gone
    [second] = [name for name, info in here.items() if info.user == "j2"]
    subscription = curious.get_subscription("room/j")
    await subscription.unsubscribe()
    await until("that one has left", lambda: [info.client for info in both.gone] == [second])
    await call(PublishRequest(channel="room/j", data=1))
    before = len(both.joined)
    await subscription.subscribe()
    await until("it to come again", lambda: len(both.joined) > before and both.joined[-1].client == second)
    await call(PublishRequest(channel="room/j", data=2))
    await curious.disconnect()
    await until("that it has gone", lambda: len(both.gone) == 2 and both.gone[-1].client == second)
    await until("the messages", lambda: len(both.got) == 2)
    assert both.got == [(1, 1), (2, 2)] and not denied.joined and not denied.gone, (both.got, denied.joined)
    await client.get_subscription("room/j").unsubscribe()
    third, witness = await connected("j3", permissions="subscribe:room/* presence:room/*"), Followed()
    await third.new_subscription("room/j", events=witness, join_leave=True).subscribe()
    await until("its own coming", lambda: any(info.user == "j3" for info in witness.joined))
    assert all(info.user != "j3" for info in both.joined), "it does not follow any more"
    await third.disconnect()
    await client.disconnect()


async def it_lets_a_connection_last_and_ends_it():
    told = Told()
    client = await connected("r1", told)
    await call(RefreshRequest(user="r1", expire_at=int(time.time()) + 3600))
    collected = await subscribed(client, "room/r")
    before = len(collected.subscribed)
    await call(RefreshRequest(user="r1", expired=True))
    await until("it to come again", lambda: len(collected.subscribed) > before)
    await client.disconnect()


async def it_carries_out_a_batch():
    for parallel in [False, True]:
        result = await call(
            BatchRequest(
                parallel=parallel,
                requests=[
                    PublishRequest(channel="room/batch", data=1),
                    HistoryRequest(channel="room/batch"),
                    PresenceStatsRequest(channel="room/batch"),
                    DisconnectRequest(user="nobody"),
                ],
            )
        )
        published, history, stats, _ = result.replies
        assert published.offset >= 1 and history.epoch and stats.num_clients == 0, result


async def it_is_refused_without_the_key_and_what_there_is_not():
    for key in ["", "wrong", KEY[:-1], KEY + "x", SECRET]:
        other = Server(f"{API}/api", key)
        try:
            await asyncio.to_thread(other.info, InfoRequest())
            raise AssertionError(f"it is let in with {key!r}")
        except CentUnauthorizedError:
            pass
    try:
        await call(ConnectionsRequest(user="u", expression=""))
        raise AssertionError("there is no such method")
    except CentTransportError as error:
        assert error.status_code == 404, error


async def main():
    checks = [
        it_publishes_and_is_told_where_that_stands,
        it_broadcasts_and_each_channel_has_an_answer_of_its_own,
        it_reads_and_removes_history,
        it_sees_who_is_there,
        it_subscribes_a_user_and_unsubscribes_it,
        it_disconnects_a_user_or_one_of_its_clients,
        who_asks_for_it_is_told_which_clients_join_and_leave,
        it_lets_a_connection_last_and_ends_it,
        it_carries_out_a_batch,
        it_is_refused_without_the_key_and_what_there_is_not,
    ]
    await run(checks)


asyncio.run(main())
