"""Deploy the translated template to an emulator of AWS that others wrote, and use it as a client and a producer would.

    python infra/on_ministack.py TRANSLATED FOLDER

TRANSLATED is what `infra/translate.py` wrote; FOLDER has the functions' programs, as `cargo lambda build` leaves them
(`FOLDER/connect/bootstrap`). It shows that references, variables, event sources, the authorizer and tokens fit together; see
`infra/emulator.py`. Exits 1 with the reason when something is not as it should be.
"""

import json
import sys
from pathlib import Path

from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from emulator import BUCKET, answer_routes, ask, clients, deploy, expect, message, ministack, prepared, token, until, upload

STACK = "tidings"
TOPIC = "orders/42"


def rows(dynamodb, table, connection):
    """The rows that mention the connection. Those of notifications, of logs and of the rate outlive it."""
    items = dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True).build_full_result()["Items"]
    stays = lambda key: key.startswith(("work#", "head#", "log#", "lane#")) or key == "rate"
    return sorted(item["pk"]["S"] for item in items if not stays(item["pk"]["S"]) and connection in json.dumps(item))


def use(aws, outputs):
    """What a client and producers do."""
    url, table = outputs["WebSocketUrl"], outputs["TableName"]
    try:
        connect(url).close()
        sys.exit("a client without a token was let in")
    except InvalidStatus as refused:
        expect("a client without a token is refused", refused.response.status_code, 403)
    bearer = token(aws("secretsmanager"), STACK, "alice", f"subscribe:{TOPIC} publish:{TOPIC}")
    with connect(url, additional_headers={"Authorization": f"Bearer {bearer}"}) as client:
        connection = ask(client, {"action": "whoami", "id": 1}, {"type": "whoami", "user": "alice"})["connection"]
        ask(client, {"action": "subscribe", "topic": TOPIC, "id": 2}, {"type": "ack", "id": 2})
        ask(client, {"action": "subscribe", "topic": "other", "id": 3}, {"type": "error", "code": "Forbidden"})
        ask(client, {"action": "ping"}, {"type": "pong"})
        ask(client, {"action": "ping", "id": 4}, {"type": "pong", "id": 4})
        notify(aws, outputs, client)
        ask(client, {"action": "publish", "topic": TOPIC, "data": {"n": 3}, "id": 5}, {"type": "ack", "id": 5})
        message(client, "what a client published comes", TOPIC, {"n": 3})
        partitions = {row.partition("#")[0] for row in rows(aws("dynamodb"), table, connection)}
        expect("the connection, its user and its topic are in the table", partitions >= {"conn", "user", "topic"}, True)
    until("no row of the connection is left", lambda: not rows(aws("dynamodb"), table, connection))
    print("ok    no row of the connection is left")
    attributes = aws("sqs").get_queue_attributes(
        QueueUrl=outputs["DeadLetterQueueUrl"], AttributeNames=["ApproximateNumberOfMessages"]
    )["Attributes"]
    expect("nothing is in the dead-letter queue", attributes["ApproximateNumberOfMessages"], "0")


def notify(aws, outputs, client):
    payload = {"to": {"topic": TOPIC}, "data": {"n": 1}}
    answer = aws("lambda").invoke(FunctionName=outputs["NotifierFunctionName"], Payload=json.dumps(payload))
    answer = json.loads(answer["Payload"].read())
    expect("an invoke says who was reached", (answer.get("audience"), answer.get("delivered")), (1, 1))
    message(client, "what was invoked comes", TOPIC, {"n": 1})
    payload["data"] = {"n": 2}
    aws("sqs").send_message(QueueUrl=outputs["NotificationQueueUrl"], MessageBody=json.dumps(payload))
    message(client, "what was queued comes", TOPIC, {"n": 2})


def main():
    translated, folder = (Path(argument) for argument in sys.argv[1:])
    original = json.loads(translated.read_text(encoding="utf-8"))
    with ministack() as address:
        aws = clients(address)
        template = prepared(original, address)
        aws("s3").create_bucket(Bucket=BUCKET)
        upload(aws("s3"), template, folder)
        outputs, ids = deploy(aws("cloudformation"), STACK, template)
        answer_routes(aws("apigatewayv2"), original, ids)
        use(aws, outputs)


if __name__ == "__main__":
    main()
