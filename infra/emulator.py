"""An emulator of AWS that others wrote, ministack (`.ci/ministack.txt`): runs it, deploys to it, and talks to what runs there.

It runs on this machine, without containers, and listens on 127.0.0.1 only. Its gateway is no evidence of how API Gateway behaves,
and it checks no role.
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

import botocore.session

BUCKET = "code"
REGION = "us-east-1"
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


def clients(address):
    """Give a function that makes a client of a service."""
    session = botocore.session.Session()
    session.set_credentials("test", "test")
    return lambda service: session.create_client(service, region_name=REGION, endpoint_url=address)


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


def deploy(cloudformation, name, template):
    """Create a stack; return its outputs and the physical ids of its resources."""
    cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"])

    def is_done():
        stack, = cloudformation.describe_stacks(StackName=name)["Stacks"]
        if stack["StackStatus"] in ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_IN_PROGRESS"):
            sys.exit(f"{stack['StackStatus']}: {stack.get('StackStatusReason')}")
        return stack if stack["StackStatus"] == "CREATE_COMPLETE" else None

    stack = until("the stack is there", is_done)
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    return outputs, physical_ids(cloudformation, name)


def physical_ids(cloudformation, name):
    """The physical ids of a stack's resources, by logical ids."""
    resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    return {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}


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


def token(secrets, stack, user, permissions):
    """A token as a backend signs it, with the stack's own secret."""
    # `Ref` of a secret gives its name there and not its ARN, and both find it.
    key = secrets.get_secret_value(SecretId=f"{stack}/tokens")["SecretString"].encode()
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


def message(client, what, topic, data):
    """Expect the next message, with this topic and these data."""
    found = next(reply for reply in replies(client) if reply["type"] == "message")
    expect(what, (found["topic"], found["data"]), (topic, data))
