"""Deploy an application that nests our template to an emulator of AWS that others wrote, and use it.

    python infra/application_on_ministack.py APPLICATION NESTED FOLDER TIDINGS

APPLICATION and NESTED are what `infra/translate.py` makes of the two templates of an application that `tidings new` wrote from
`minimal`; FOLDER has the functions' programs (`FOLDER/connect/bootstrap`); TIDINGS is the command line. It shows that
parameters go down and outputs come up, that a row which is put into the application's table reaches a client, and that the
command line finds its way into the nested stack; see `infra/emulator.py`. Exits 1 with the reason when something is not as it
should be.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from websockets.sync.client import connect

from emulator import (
    BUCKET,
    REGION,
    answer_routes,
    ask,
    clients,
    deploy,
    expect,
    message,
    ministack,
    physical_ids,
    prepared,
    replies,
    upload,
)

STACK = "shop"
NESTED = "Tidings"
TOPIC = "items"


def command_line(program, address):
    """Give a function that runs the command line against the emulator, and returns what it prints."""
    ours = {"AWS_ENDPOINT_URL": address, "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | ours

    def tidings(*arguments):
        run = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            sys.exit(f"tidings {' '.join(arguments)}: {run.stderr}")
        return run.stdout.strip()

    return tidings


def use(aws, outputs, tidings):
    """What a client, the application's table and the command line do."""
    bearer = tidings("token", "--user", "alice", "--allow", f"subscribe:{TOPIC}", "--stack", STACK)
    with connect(outputs["WebSocketUrl"], additional_headers={"Authorization": f"Bearer {bearer}"}) as client:
        ask(client, {"action": "subscribe", "topic": TOPIC, "id": 1}, {"type": "ack", "id": 1})
        ask(client, {"action": "hello", "name": "Ada", "id": 2}, {"type": "ack", "id": 2, "data": {"hello": "Ada"}})
        ask(client, {"action": "hello", "name": "", "id": 3}, {"type": "error", "id": 3, "code": "NoName"})
        item = {"id": {"S": "1"}, "text": {"S": "hi"}}
        aws("dynamodb").put_item(TableName=outputs["ItemsTableName"], Item=item)
        change = next(reply for reply in replies(client) if reply["type"] == "message")
        expect("a row that is put into the table comes", (change["topic"], change["data"]["new"]), (TOPIC, {"id": "1", "text": "hi"}))
        ask(client, {"action": "item.get", "item": "1", "id": 4}, {"data": {"item": "1", "text": "hi"}})
        answer = json.loads(tidings("notify", "--topic", TOPIC, '{"n":1}', "--stack", STACK))
        expect("`tidings notify --stack` says who was reached", (answer["audience"], answer["delivered"]), (1, 1))
        message(client, "what it sent comes", TOPIC, {"n": 1})
    expect("`tidings dead-letters --stack` finds no letter", tidings("dead-letters", "list", "--stack", f"{STACK}/{NESTED}"), "")


def main():
    application, nested = (json.loads(Path(path).read_text(encoding="utf-8")) for path in sys.argv[1:3])
    folder, program = sys.argv[3:]
    with ministack() as address:
        aws = clients(address)
        aws("s3").create_bucket(Bucket=BUCKET)
        inner = prepared(nested, address)
        upload(aws("s3"), inner, Path(folder))
        aws("s3").put_object(Bucket=BUCKET, Key="nested.json", Body=json.dumps(inner).encode())
        outer = prepared(application, address)
        outer["Resources"][NESTED]["Properties"]["TemplateURL"] = f"{address}/{BUCKET}/nested.json"
        outputs, ids = deploy(aws("cloudformation"), STACK, outer)
        answer_routes(aws("apigatewayv2"), nested, physical_ids(aws("cloudformation"), ids[NESTED]))
        use(aws, outputs, command_line(program, address))


if __name__ == "__main__":
    main()
