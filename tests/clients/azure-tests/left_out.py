"""Which of Microsoft's tests cannot hold against a stack, and why. A plugin of pytest; a name that is no test's is a fault."""

import pytest

OTHER_HOST = "calls a host of somebody else's"
ENTRA = "wants a credential of Microsoft Entra"

LEFT_OUT = {
    "test_smoke.py::TestWebpubsubSmoke::test_webpubsub_send_to_all_api_management_proxy_counter_test": OTHER_HOST,
    "test_reverse_proxy.py::TestWebpubsubReverseProxy::test_reverse_proxy_endpoint_redirection_identity": ENTRA,
    "test_reverse_proxy_async.py::TestWebpubsubReverseProxyAsync::test_reverse_proxy_endpoint_redirection_identity": ENTRA,
}


def pytest_collection_modifyitems(config, items):
    named = {item.nodeid.split("/")[-1]: item for item in items}
    unknown = LEFT_OUT.keys() - named.keys()
    if unknown:
        raise pytest.UsageError(f"there are no such tests: {sorted(unknown)}")
    left_out = [named[name] for name in LEFT_OUT]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_report_header():
    return [f"left out: {name}: {reason}" for name, reason in LEFT_OUT.items()]
