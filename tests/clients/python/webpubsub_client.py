"""Azure Web PubSub's official library for Python, unmodified, against a stack: `webpubsub_client.py URL KEY SECRET CONTROL [reliable]`.

Prints a line for each thing that holds, and ends with 1 at the first that does not. A request to CONTROL/cut cuts all sockets,
and one to CONTROL/away lets nobody in either until one to CONTROL/back. With `reliable` the stack keeps what clients miss.
"""

import base64
import hashlib
import hmac
import json
import sys
import time
import traceback
import urllib.request

from azure.messaging.webpubsubclient import WebPubSubClient
from azure.messaging.webpubsubclient.models import (
    CallbackType,
    SendMessageError,
    WebPubSubDataType,
    WebPubSubProtocolType,
)

URL, KEY, _, CONTROL = sys.argv[1:5]
PATIENCE = 60.0
ROLES = ["webpubsub.sendToGroups.py*", "webpubsub.joinLeaveGroup.py"]


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def address(user):
    claims = {"aud": "https://example.com/client/hubs/chat", "exp": int(time.time()) + 600, "sub": user, "role": ROLES}
    body = f"{part({'alg': 'HS256'})}.{part(claims)}"
    signature = hmac.new(KEY.encode(), body.encode(), hashlib.sha256).digest()
    return f"{URL}?hub=chat&access_token={body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def until(what, test):
    end = time.monotonic() + PATIENCE
    while not test():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)


class Connected:
    """A client that is connected while it is in scope, and what came to it."""

    def __init__(self, user, **options):
        # An attempt that fails before the library begins to wait for it is waited for all the same, by default as long as a recovery
        # may take.
        self.client = WebPubSubClient(address(user), message_retry_total=1, start_timeout=3.0, **options)
        self.connected, self.got = [], []
        self.client.subscribe(CallbackType.CONNECTED, self.connected.append)
        self.client.subscribe(CallbackType.GROUP_MESSAGE, self.got.append)

    def __enter__(self):
        self.client.open()
        until("connected", lambda: self.connected)
        return self

    def __exit__(self, *_):
        self.client.close()


def it_joins_gets_what_another_sends_is_refused_by_its_roles_and_leaves():
    for protocol in [WebPubSubProtocolType.JSON_RELIABLE, WebPubSubProtocolType.JSON]:
        with Connected("u1", protocol_type=protocol) as one, Connected("u2") as other:
            assert one.connected[0].user_id == "u1" and one.connected[0].connection_id
            one.client.join_group("py")
            other.client.join_group("py")
            other.client.send_to_group("py", {"a": 1}, WebPubSubDataType.JSON)
            until("a message", lambda: one.got)
            assert (one.got[0].group, one.got[0].data, one.got[0].from_user_id) == ("py", {"a": 1}, "u2")
            one.client.send_to_group("py", "not to me", WebPubSubDataType.TEXT, no_echo=True)
            try:
                one.client.join_group("other")
                raise AssertionError("it may join")
            except SendMessageError as error:
                assert error.error_detail.name == "Forbidden", error.error_detail.name
            one.client.leave_group("py")
            other.client.send_to_group("py", "too late", WebPubSubDataType.TEXT)
            # An ack says that a message is on the queue: it is for those who are there when it is taken up.
            until("a witness", lambda: any(message.data == "too late" for message in other.got))
            one.client.join_group("py")
            other.client.send_to_group("py", "last", WebPubSubDataType.TEXT)
            until("the last", lambda: len(one.got) > 1)
            assert [message.data for message in one.got[1:]] == ["last"]


def it_comes_back_after_a_cut_and_is_in_its_groups_again():
    with Connected("u1") as one:
        one.client.join_group("py")
        urllib.request.urlopen(f"{CONTROL}/cut").read()
        until("connected again", lambda: len(one.connected) > 1)
        with Connected("u2") as other:

            def came():
                other.client.send_to_group("py", "again", WebPubSubDataType.TEXT)
                time.sleep(0.2)
                return one.got

            until("a message", came)


def it_recovers_after_a_cut_with_nothing_missed_and_nothing_twice():
    with Connected("u1") as one, Connected("u2") as other:
        one.client.join_group("py")
        other.client.send_to_group("py", "before", WebPubSubDataType.TEXT)
        until("before", lambda: one.got)
        for number in range(2):
            urllib.request.urlopen(f"{CONTROL}/away").read()
            body = json.dumps({"to": {"topic": "chat/py"}, "data": f"away {number}", "dataType": "text"}).encode()
            urllib.request.urlopen(f"{CONTROL}/notify", data=body).read()
            urllib.request.urlopen(f"{CONTROL}/back").read()
            until("what came meanwhile", lambda: len(one.got) > number + 1)
        assert [message.data for message in one.got] == ["before", "away 0", "away 1"]
        assert len(one.connected) == 1, "the application knows of nothing"
        with Connected("u3", protocol_type=WebPubSubProtocolType.JSON) as third:
            third.client.send_to_group("py", "last", WebPubSubDataType.TEXT)
            until("the last", lambda: len(one.got) > 3)


def main():
    checks = [it_joins_gets_what_another_sends_is_refused_by_its_roles_and_leaves]
    if sys.argv[5:] == ["reliable"]:
        checks.append(it_recovers_after_a_cut_with_nothing_missed_and_nothing_twice)
    else:
        checks.append(it_comes_back_after_a_cut_and_is_in_its_groups_again)
    for check in checks:
        try:
            check()
            print(f"ok {check.__name__}", flush=True)
        except BaseException:
            print(f"not ok {check.__name__}: {traceback.format_exc()}", flush=True)
            sys.exit(1)


main()
