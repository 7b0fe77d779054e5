"""Check what no linter knows about our template.

    python infra/check.py TRANSLATED

TRANSLATED is what `infra/translate.py` wrote. Prints one line for each finding and exits 1 when there is any.
"""

import json
import re
import sys
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

INFRA = Path(__file__).resolve().parent

# Writing logs is all that it allows, and every function needs that.
LOGS = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"

# API Gateway checks the action against the route; no policy can name a single connection.
WILDCARD_RESOURCES = {"execute-api:ManageConnections": re.compile(r"/(POST|DELETE)/@connections/\*$")}


def as_list(value):
    return value if isinstance(value, list) else [value]


def of_type(template, kind):
    return {name: resource for name, resource in template["Resources"].items() if resource["Type"] == kind}


def text_of(resource):
    """The ARN as far as it can be read before deployment."""
    if isinstance(resource, str):
        return resource
    if "Fn::GetAtt" in resource:
        return ".".join(resource["Fn::GetAtt"])
    return resource["Fn::Sub"]


def roles(template):
    """Each role allows single actions on single resources, and has no managed policy but the one for logs."""
    for name, role in of_type(template, "AWS::IAM::Role").items():
        for policy in role["Properties"].get("ManagedPolicyArns", []):
            if policy != LOGS:
                yield f"{name}: the managed policy {policy} allows more than single actions"
        for policy in role["Properties"].get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield from (f"{name}: {finding}" for finding in statement_findings(statement))


def statement_findings(statement):
    if statement["Effect"] != "Allow" or "NotAction" in statement or "NotResource" in statement:
        yield "a statement is not a plain list of what is allowed"
        return
    resources = [text_of(resource) for resource in as_list(statement["Resource"])]
    for action in as_list(statement["Action"]):
        if "*" in action:
            yield f"the action {action} is a wildcard"
        yield from (f"{action} on {resource} is a wildcard" for resource in resources if is_wildcard(action, resource))


def is_wildcard(action, resource):
    allowed = WILDCARD_RESOURCES.get(action)
    return "*" in (allowed.sub("", resource) if allowed else resource)


def routes(template):
    """The four routes exist, and those that answer can: SAM makes no route response of its own."""
    routes = of_type(template, "AWS::ApiGatewayV2::Route")
    by_key = {route["Properties"]["RouteKey"]: name for name, route in routes.items()}
    for key in ("$connect", "$disconnect", "$default", "ping/"):
        if key not in by_key:
            yield f"the route {key} is missing"
    responses = of_type(template, "AWS::ApiGatewayV2::RouteResponse").values()
    answering = [response["Properties"]["RouteId"] for response in responses]
    for name in (by_key[key] for key in ("$default", "ping/") if key in by_key):
        if routes[name]["Properties"].get("RouteResponseSelectionExpression") != "$default":
            yield f"{name}: RouteResponseSelectionExpression is not $default"
        if {"Ref": name} not in answering:
            yield f"{name}: no AWS::ApiGatewayV2::RouteResponse belongs to it"


def table(template):
    """`infra/table.json`, which tests and laptops use, describes the table of the template."""
    local = json.loads((INFRA / "table.json").read_text(encoding="utf-8"))
    properties = template["Resources"]["ConnectionsTable"]["Properties"]
    for key in ("AttributeDefinitions", "BillingMode", "KeySchema"):
        if local.get(key) != properties.get(key):
            yield f"infra/table.json: {key} differs from the template"
    environment = json.loads((INFRA / "local-env.json").read_text(encoding="utf-8"))["Parameters"]
    if environment["TABLE_NAME"] != local["TableName"]:
        yield "infra/local-env.json: TABLE_NAME is not the table of infra/table.json"


def local_variables(template):
    """`sam local` silently drops a variable that no function has."""
    environment = json.loads((INFRA / "local-env.json").read_text(encoding="utf-8"))["Parameters"]
    functions = of_type(template, "AWS::Lambda::Function").values()
    known = {name for function in functions for name in function["Properties"]["Environment"]["Variables"]}
    for name in sorted(environment.keys() - known):
        yield f"infra/local-env.json: no function of the template has the variable {name}"


def parameters(template):
    """Whoever deploys is told at once what is wrong, and not by a half-made stack."""
    for name, spec in template["Parameters"].items():
        if spec["Type"] == "String" and not {"AllowedPattern", "AllowedValues"} & spec.keys():
            yield f"{name}: a parameter of type String needs AllowedPattern or AllowedValues"


def concurrency(template):
    """The notifier divides its rate by what its two mappings really run at once."""
    variables = template["Resources"]["NotifierFunction"]["Properties"]["Environment"]["Variables"]
    for variable, mapping in (("FAN_OUT_CONCURRENCY", "FanOutMapping"), ("NOTIFICATION_CONCURRENCY", "NotificationMapping")):
        runs = template["Resources"][mapping]["Properties"]["ScalingConfig"]["MaximumConcurrency"]
        told = variables.get(variable)
        if told != runs and told != str(runs):
            yield f"NotifierFunction: {variable} is {told}, but {mapping} runs {runs} at once"


def main():
    template = yaml_parse(Path(sys.argv[1]).read_text(encoding="utf-8"))
    findings = [finding for check in (roles, routes, table, local_variables, parameters, concurrency) for finding in check(template)]
    sys.stdout.writelines(f"{finding}\n" for finding in findings)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
