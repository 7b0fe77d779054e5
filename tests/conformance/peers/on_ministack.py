"""The conformance stack on ministack, an emulator of AWS that others wrote, until standard input ends.

    python on_ministack.py TRANSLATED PROGRAM

TRANSLATED is what `infra/translate.py` wrote, PROGRAM the function of the suite. Prints the addresses as one line of JSON.
"""

import io
import json
import sys
import zipfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3] / "infra"))

from emulator import BUCKET, clients, ministack, physical_ids, until  # noqa: E402

STACK = "conformance"


def prepared(template):
    """The template for this emulator: without the types that it does not know, and with the programs where they are."""
    known = {name: resource for name, resource in template["Resources"].items() if resource["Type"] not in UNKNOWN}
    for name, resource in known.items():
        kept = [other for other in resource.get("DependsOn", []) if other in known]
        if "DependsOn" in resource:
            resource["DependsOn"] = kept
        if resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"]["Code"] = {"S3Bucket": BUCKET, "S3Key": "function.zip"}
    return {**template, "Resources": known, "Outputs": {}}


def upload(s3, program):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        package.writestr(entry, program.read_bytes())
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="function.zip", Body=archive.getvalue())


def create(cloudformation, template):
    cloudformation.create_stack(StackName=STACK, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_IAM"])

    def is_there():
        stack, = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
        if "FAILED" in stack["StackStatus"] or "ROLLBACK" in stack["StackStatus"]:
            sys.exit(f"{stack['StackStatus']}: {stack.get('StackStatusReason')}")
        return stack["StackStatus"] == "CREATE_COMPLETE"

    until("the stack is there", is_there)
    # What belongs to an API is called API/PART.
    return {name: found.rpartition("/")[2] for name, found in physical_ids(cloudformation, STACK).items()}


def create_route_response(apis, ids, properties):
    apis.create_route_response(
        ApiId=ids[properties["ApiId"]["Ref"]],
        RouteId=ids[properties["RouteId"]["Ref"]],
        RouteResponseKey=properties["RouteResponseKey"],
    )


# What it has no CloudFormation type for.
UNKNOWN = ("AWS::ApiGatewayV2::Model", "AWS::ApiGatewayV2::RouteResponse")


def main():
    translated, program = (Path(argument) for argument in sys.argv[1:])
    template = json.loads(translated.read_text(encoding="utf-8"))
    with ministack() as address:
        aws = clients(address)
        upload(aws("s3"), program)
        ids = create(aws("cloudformation"), prepared(template))
        for resource in template["Resources"].values():
            # Of the two it has calls for this one only.
            if resource["Type"] == "AWS::ApiGatewayV2::RouteResponse":
                create_route_response(aws("apigatewayv2"), ids, resource["Properties"])
        # It has no name service for execute-api addresses; a path of its own stands for them.
        base = f"ws{address.removeprefix('http')}/_aws/execute-api"
        apis = {name: f"{base}/{ids[name]}/{name.lower()}" for name in ("Main", "Guarded", "Bare", "Closed", "Hurried")}
        print(json.dumps(apis), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
