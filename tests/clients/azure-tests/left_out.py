"""Which of Microsoft's tests cannot hold against a stack, and why. A plugin of pytest; a name that is no test's is a fault."""

import pytest

OTHER_HOST = "calls a host of somebody else's"
ENTRA = "wants a credential of Microsoft Entra"

AT_ONCE = "reads the connection's id a millisecond after open(), and API Gateway sends nothing before the handshake is over"
OWN_SOCKET = "sends over a socket that it has closed itself: which error it gets is up to websocket-client's threads"

SERVICE = {
    "test_smoke.py::TestWebpubsubSmoke::test_webpubsub_send_to_all_api_management_proxy_counter_test": OTHER_HOST,
    "test_reverse_proxy.py::TestWebpubsubReverseProxy::test_reverse_proxy_endpoint_redirection_identity": ENTRA,
    "test_reverse_proxy_async.py::TestWebpubsubReverseProxyAsync::test_reverse_proxy_endpoint_redirection_identity": ENTRA,
}
CLIENT = {
    "test_smoke.py::TestWebpubsubClientSmoke::test_open_client_error": OTHER_HOST,
    "test_smoke_async.py::TestWebpubsubClientSmokeAsync::test_open_client_error_async": OTHER_HOST,
    "test_auto_connect.py::TestWebpubsubClientAutoConnect::test_auto_connect": AT_ONCE,
    "test_auto_connect_async.py::TestWebpubsubClientAutoConnectAsync::test_auto_connect_async": AT_ONCE,
    "test_no_recovery_no_connect.py::TestWebpubsubClientNoRecoveryNoReconnect::test_disable_recovery_and_autoconnect": OWN_SOCKET,
    "test_recovery.py::TestWebpubsubClientRecovery::test_recovery": AT_ONCE,
    "test_recovery_async.py::TestWebpubsubClientRecoveryAsync::test_recovery_async": AT_ONCE,
}


def left_out(config):
    """Of the package whose tests are run."""
    return CLIENT if "webpubsubclient" in config.args[0] else SERVICE


def pytest_collection_modifyitems(config, items):
    named = {item.nodeid.split("/")[-1]: item for item in items}
    names = left_out(config)
    unknown = names.keys() - named.keys()
    if unknown:
        raise pytest.UsageError(f"there are no such tests: {sorted(unknown)}")
    out = [named[name] for name in names]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]


def pytest_report_header(config):
    return [f"left out: {name}: {reason}" for name, reason in left_out(config).items()]
