"""Azure Web PubSub's official library for Python, unmodified, that only listens: `quiet_webpubsub.py URL`. It says what happens
until it is ended.
"""

import sys
import threading

from azure.messaging.webpubsubclient import WebPubSubClient
from azure.messaging.webpubsubclient.models import CallbackType

connected = threading.Semaphore(0)
client = WebPubSubClient(sys.argv[1])
client.subscribe(CallbackType.GROUP_MESSAGE, lambda message: print(f"got {message.data + 1}", flush=True))
client.subscribe(CallbackType.CONNECTED, lambda _: connected.release())
client.open()
while True:
    connected.acquire()
    client.join_group("quiet")
    print("subscribed", flush=True)
