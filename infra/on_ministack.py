"""Deploy the translated template to an emulator of AWS that others wrote, and use it as a client and a producer would.

    python infra/on_ministack.py TRANSLATED FOLDER

TRANSLATED is what `infra/translate.py` wrote; FOLDER has the functions' programs, as `cargo lambda build` leaves them
(`FOLDER/connect/bootstrap`). ministack (`.ci/ministack.txt`) runs on this machine, without containers, and listens on
127.0.0.1 only. It shows that references, variables, event sources, the authorizer and tokens fit together; its gateway is
no evidence of how API Gateway behaves, and it checks no role. Exits 1 with the reason when something is not as it should be.
"""

import base64
import hashlib
import hmac
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from contextlib import contextmanager
from pathlib import Path

import botocore.session
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

STACK = "tidings"
BUCKET = "code"
REGION = "us-east-1"
TOPIC = "orders/42"
# How long anything may take: cold starts of six programs on a busy machine are the slowest part.
PATIENCE = 30.0


def until(what, condition):
    """Ask again and again until the condition holds, and return what it gave."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > deadline:
            sys.exit(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.1)
    return found


def expect(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found!r}, and not {expected!r}")
    print(f"ok    {what}")


@contextmanager
def ministack():
    """Run the emulator on a free port, and give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/log", "w+", encoding="utf-8") as log:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "TMPDIR": folder,
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "MINISTACK_REGION": REGION,
            # Where functions call AWS. It stands for every service, so it also shows that `@connections` is not among them.
            "AWS_ENDPOINT_URL": address,
            # What else would listen on ports of its own.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
        }
        command = [sys.executable, "-m", "ministack"]
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            until("ministack answers", lambda: is_up(f"{address}/_ministack/health", process))
            yield address
        except BaseException:
            log.seek(0)
            sys.stdout.writelines(log.readlines()[-60:])
            raise
        finally:
            # With the functions' programs, which it started.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def is_up(url, process):
    if process.poll() is not None:
        sys.exit(f"ministack ended with status {process.returncode}")
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def prepared(template, address):
    """The template for this emulator: what it lacks is left out or written as it can read it, and nothing else."""
    # It has no name service for execute-api addresses; a path of its own stands for them.
    text = json.dumps(template)
    host, path = "${WebSocketApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}", "_aws/execute-api/${WebSocketApi}"
    local = address.removeprefix("http://")
    for scheme in ("http", "ws"):
        text = text.replace(f"{scheme}s://{host}", f"{scheme}://{local}/{path}")
    template = json.loads(text)
    # It knows no CloudFormation type for these; `answer_routes` makes them by calls of the API.
    unknown = ("AWS::ApiGatewayV2::RouteResponse", "AWS::ApiGatewayV2::IntegrationResponse")
    resources = template["Resources"]
    for name in [name for name, resource in resources.items() if resource["Type"] in unknown]:
        del resources[name]
        for resource in resources.values():
            if name in resource.get("DependsOn", []):
                resource["DependsOn"].remove(name)
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Lambda::Function":
            properties["Code"] = {"S3Bucket": BUCKET, "S3Key": f"{name}.zip"}
        # It keeps the value of a number as a text, with which its poller fails.
        scaling = properties.get("ScalingConfig")
        if scaling:
            parameter = template["Parameters"][scaling["MaximumConcurrency"]["Ref"]]
            scaling["MaximumConcurrency"] = int(parameter["Default"])
    return template


def upload(s3, template, folder):
    """Put each function's program where the template says it is."""
    s3.create_bucket(Bucket=BUCKET)
    for name, resource in template["Resources"].items():
        if resource["Type"] != "AWS::Lambda::Function":
            continue
        program = folder / name.removesuffix("Function").lower() / "bootstrap"
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as package:
            entry = zipfile.ZipInfo("bootstrap")
            entry.external_attr = 0o755 << 16
            package.writestr(entry, program.read_bytes())
        s3.put_object(Bucket=BUCKET, Key=f"{name}.zip", Body=archive.getvalue())


def deploy(cloudformation, template):
    """Create the stack; return its outputs and the physical ids of its resources."""
    cloudformation.create_stack(StackName=STACK, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"])

    def is_done():
        stack, = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
        if stack["StackStatus"] in ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_IN_PROGRESS"):
            sys.exit(f"{stack['StackStatus']}: {stack.get('StackStatusReason')}")
        return stack if stack["StackStatus"] == "CREATE_COMPLETE" else None

    stack = until("the stack is there", is_done)
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    resources = cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]
    return outputs, {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}


def answer_routes(apis, original, ids):
    """Make what `prepared` left out, and set what it gets wrong."""
    api = ids["WebSocketApi"]
    for resource in original["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::ApiGatewayV2::RouteResponse":
            # Its routes are called API/ROUTE.
            route = ids[properties["RouteId"]["Ref"]].rpartition("/")[2]
            apis.create_route_response(ApiId=api, RouteId=route, RouteResponseKey=properties["RouteResponseKey"])
        if resource["Type"] == "AWS::ApiGatewayV2::IntegrationResponse":
            apis.create_integration_response(
                ApiId=api,
                IntegrationId=ids[properties["IntegrationId"]["Ref"]].rpartition("/")[2],
                IntegrationResponseKey=properties["IntegrationResponseKey"],
                ResponseTemplates=properties["ResponseTemplates"],
                TemplateSelectionExpression=properties["TemplateSelectionExpression"],
            )
    # An authorizer without identity source gets one.
    apis.update_authorizer(ApiId=api, AuthorizerId=ids["WebSocketApiConnectAuthorizer"], IdentitySource=[])


def token(secrets, user, permissions):
    """A token as a backend signs it, with the stack's own secret."""
    # `Ref` of a secret gives its name there and not its ARN, and both find it.
    key = secrets.get_secret_value(SecretId=f"{STACK}/tokens")["SecretString"].encode()
    claims = {"sub": user, "exp": int(time.time()) + 600, "permissions": permissions}
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.new(key, signed, hashlib.sha256).digest()).rstrip(b"=")
    return (signed + b"." + signature).decode()


def ask(client, frame, expected):
    """Send a frame, and expect this reply; messages may come before it."""
    client.send(json.dumps(frame))
    reply = next(reply for reply in replies(client) if reply["type"] != "message")
    expect(json.dumps(frame), {key: reply.get(key) for key in expected}, expected)
    return reply


def replies(client):
    while True:
        yield json.loads(client.recv(timeout=PATIENCE))


def message(client, what, data):
    """Expect the next message, with these data."""
    found = next(reply for reply in replies(client) if reply["type"] == "message")
    expect(what, (found["topic"], found["data"]), (TOPIC, data))


def rows(dynamodb, table, connection):
    """The rows that mention the connection. Those of notifications and of the rate outlive it."""
    items = dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True).build_full_result()["Items"]
    stays = lambda key: key.startswith("work#") or key == "rate"
    return sorted(item["pk"]["S"] for item in items if not stays(item["pk"]["S"]) and connection in json.dumps(item))


def use(aws, outputs):
    """What a client and producers do."""
    url, table = outputs["WebSocketUrl"], outputs["TableName"]
    try:
        connect(url).close()
        sys.exit("a client without a token was let in")
    except InvalidStatus as refused:
        expect("a client without a token is refused", refused.response.status_code, 403)
    bearer = token(aws("secretsmanager"), "alice", f"subscribe:{TOPIC} publish:{TOPIC}")
    with connect(url, additional_headers={"Authorization": f"Bearer {bearer}"}) as client:
        connection = ask(client, {"action": "whoami", "id": 1}, {"type": "whoami", "user": "alice"})["connection"]
        ask(client, {"action": "subscribe", "topic": TOPIC, "id": 2}, {"type": "ack", "id": 2})
        ask(client, {"action": "subscribe", "topic": "other", "id": 3}, {"type": "error", "code": "Forbidden"})
        ask(client, {"action": "ping"}, {"type": "pong"})
        ask(client, {"action": "ping", "id": 4}, {"type": "pong", "id": 4})
        notify(aws, outputs, client)
        ask(client, {"action": "publish", "topic": TOPIC, "data": {"n": 3}, "id": 5}, {"type": "ack", "id": 5})
        message(client, "what a client published comes", {"n": 3})
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
    message(client, "what was invoked comes", {"n": 1})
    payload["data"] = {"n": 2}
    aws("sqs").send_message(QueueUrl=outputs["NotificationQueueUrl"], MessageBody=json.dumps(payload))
    message(client, "what was queued comes", {"n": 2})


def main():
    translated, folder = (Path(argument) for argument in sys.argv[1:])
    original = json.loads(translated.read_text(encoding="utf-8"))
    with ministack() as address:
        session = botocore.session.Session()
        session.set_credentials("test", "test")

        def aws(service):
            return session.create_client(service, region_name=REGION, endpoint_url=address)

        template = prepared(original, address)
        upload(aws("s3"), template, folder)
        outputs, ids = deploy(aws("cloudformation"), template)
        answer_routes(aws("apigatewayv2"), original, ids)
        use(aws, outputs)


if __name__ == "__main__":
    main()
