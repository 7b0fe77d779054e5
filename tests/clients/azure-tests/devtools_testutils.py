"""What Microsoft's tests of their libraries for Web PubSub take from their repository's tools, which are in no package.

Their own records calls or plays them back. Here each call is made: CONNECTION_STRING in the environment says to which stack.
"""

import os
import sys

import pytest
from azure.core.credentials import AzureKeyCredential

# `devtools_testutils.aio` is this module too.
__path__ = []
sys.modules[f"{__name__}.aio"] = sys.modules[__name__]

STRING = os.environ["CONNECTION_STRING"]
PARTS = dict(part.split("=", 1) for part in STRING.split(";") if part)


class AzureRecordedTestCase:
    def get_credential(self, _client, **_named):
        return AzureKeyCredential(PARTS["AccessKey"])

    def create_client_from_credential(self, client, credential, **named):
        return client(credential=credential, **named)

    def is_playback(self):
        return False


class PowerShellPreparer:
    """Gives a test what it asks for by name."""

    VALUES = {
        "webpubsub_connection_string": STRING,
        "webpubsubclient_connection_string": STRING,
        "webpubsub_endpoint": PARTS["Endpoint"],
        "webpubsub_reverse_proxy_endpoint": PARTS["Endpoint"],
    }

    def __init__(self, _service, **defaults):
        self.values = {name: self.VALUES[name] for name in defaults}

    def __call__(self, test):
        taken = test.__code__.co_varnames[: test.__code__.co_argcount]
        takes_all = test.__code__.co_flags & 0x08
        values = {name: value for name, value in self.values.items() if takes_all or name in taken}

        # Without the test's own parameters: pytest would look for fixtures of their names.
        def prepared(case):
            return test(case, **values)

        async def prepared_too(case):
            return await test(case, **values)

        return prepared_too if test.__code__.co_flags & 0x80 else prepared


def recorded_by_proxy(test):
    return test


recorded_by_proxy_async = recorded_by_proxy


@pytest.fixture(scope="session")
def test_proxy():
    return None


def add_general_regex_sanitizer(**_named):
    """Nothing is recorded, so there is nothing to leave out of it."""
