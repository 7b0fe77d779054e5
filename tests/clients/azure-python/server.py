"""Azure Web PubSub's official library for servers in Python, unmodified, against a stack: `server.py CONNECTION_STRING HUB ID USER`.

All calls that it has; ID is a connection that is there, of the user USER. Prints a line for each thing that holds, and ends with
1 at the first that does not.
"""

import sys
import traceback

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.rest import HttpRequest
from azure.messaging.webpubsubservice import WebPubSubServiceClient

STRING, HUB, ID, USER = sys.argv[1:5]
service = WebPubSubServiceClient.from_connection_string(STRING, hub=HUB)
statuses = []


def told(response):
    statuses.append(response.http_response.status_code)


def done(expected, call, *arguments, **named):
    """The result of a call that is to be answered with this status."""
    statuses.clear()
    result = getattr(service, call)(*arguments, raw_response_hook=told, **named)
    assert statuses == [expected], (call, statuses)
    return result


def refused(status, call, *arguments, **named):
    try:
        getattr(service, call)(*arguments, **named)
    except HttpResponseError as error:
        assert error.status_code == status, error
        return error
    raise AssertionError(f"{call} is done")


def sends():
    done(202, "send_to_all", {"n": 1})
    done(202, "send_to_all", "text", content_type="text/plain", excluded=["a=", "b="], filter="userId ne 'x''y'")
    done(202, "send_to_group", "g/ä", b"\x01\x02", content_type="application/octet-stream")
    done(202, "send_to_user", USER, {"n": 2}, filter="length(groups) ge 0")
    done(202, "send_to_connection", ID, {"n": 3})
    refused(400, "send_to_all", {"n": 1}, filter="userId eq")


def groups():
    assert not done(404, "group_exists", "g/ä")
    done(200, "add_connection_to_group", "g/ä", ID)
    assert done(200, "group_exists", "g/ä")
    done(204, "remove_connection_from_group", "g/ä", ID)
    assert not service.group_exists("g/ä")
    done(200, "add_user_to_group", "g/ä", USER)
    members = [(member.connection_id, member.user_id) for member in service.list_connections(group="g/ä", top=5)]
    assert members == [(ID, USER)], members
    done(204, "remove_user_from_group", "g/ä", USER)
    service.add_user_to_group("g2", USER)
    done(204, "remove_user_from_all_groups", USER)
    service.add_connection_to_group("g2", ID)
    done(204, "remove_connection_from_all_groups", ID)
    assert not service.group_exists("g2")
    refused(404, "add_connection_to_group", "g", "nobody")
    refused(404, "add_user_to_group", "g", "nobody")


def existence():
    assert done(200, "connection_exists", ID) and done(200, "user_exists", USER)
    assert not done(404, "connection_exists", "nobody") and not done(404, "user_exists", "nobody")


def permissions():
    assert not done(404, "has_permission", "joinLeaveGroup", ID, target_name="g")
    done(200, "grant_permission", "joinLeaveGroup", ID, target_name="g")
    assert done(200, "has_permission", "joinLeaveGroup", ID, target_name="g")
    done(204, "revoke_permission", "joinLeaveGroup", ID, target_name="g")
    assert not service.has_permission("joinLeaveGroup", ID, target_name="g")
    try:
        service.grant_permission("sendToGroup", "nobody")
        raise AssertionError("somebody who is not there has a permission")
    except ResourceNotFoundError as error:
        assert error.status_code == 404


def many_groups_and_tokens_by_requests_of_its_own():
    body = {"groups": ["m"], "filter": f"userId eq '{USER}'"}
    for action, there in [("addToGroups", True), ("removeFromGroups", False)]:
        response = service.send_request(HttpRequest("POST", f"/api/hubs/{HUB}/:{action}?api-version=2024-12-01", json=body))
        assert response.status_code == 200, response.text()
        assert service.group_exists("m") == there
    token = service.get_client_access_token(user_id="u", roles=["webpubsub.sendToGroup"], groups=["g"], minutes_to_expire=5)
    assert token["url"].startswith("ws://") and f"/client/hubs/{HUB}?access_token=" in token["url"], token
    address = f"/api/hubs/{HUB}/:generateToken?userId=u&role=r&group=g&minutesToExpire=5&api-version=2024-12-01"
    response = service.send_request(HttpRequest("POST", address))
    assert response.status_code == 200 and response.json()["token"].count(".") == 2, response.text()


def closing():
    done(204, "close_group_connections", "nobody", reason="over")
    done(204, "close_user_connections", "nobody", excluded=[ID])
    done(204, "close_all_connections", excluded=[ID])
    assert service.connection_exists(ID)
    done(204, "close_connection", ID, reason="enough")
    assert not service.connection_exists(ID)


for check in [sends, groups, existence, permissions, many_groups_and_tokens_by_requests_of_its_own, closing]:
    try:
        check()
        print(f"ok {check.__name__}", flush=True)
    except BaseException:
        print(f"not ok {check.__name__}: {traceback.format_exc()}", flush=True)
        sys.exit(1)
