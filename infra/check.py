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

# SAM adds it where a function names `Tracing`. It allows to write traces and to read how many are wanted, and X-Ray knows
# no resource to name. Each partition has it under one of two names.
XRAY = re.compile(r"arn:[a-z-]+:iam::aws:policy/(AWSXrayWriteOnlyAccess|AWSXRayDaemonWriteAccess)$")

# API Gateway checks the action against the route; no policy can name a single connection.
WILDCARD_RESOURCES = {"execute-api:ManageConnections": re.compile(r"/(GET|POST|DELETE)/@connections/\*$")}


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
    if "Ref" in resource:
        return resource["Ref"]
    return resource["Fn::Sub"]


def roles(template):
    """Each role allows single actions on single resources, and has no managed policy but those for logs and traces."""
    for name, role in of_type(template, "AWS::IAM::Role").items():
        for policy in role["Properties"].get("ManagedPolicyArns", []):
            if policy != LOGS and not XRAY.match(policy):
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
    """The five routes exist, $connect asks an authorizer, those that answer can, and the stage waits for all of them."""
    every = of_type(template, "AWS::ApiGatewayV2::Route")
    routes = {name: route for name, route in every.items() if route["Properties"]["ApiId"] == {"Ref": "WebSocketApi"}}
    by_key = {route["Properties"]["RouteKey"]: name for name, route in routes.items()}
    for key in ("$connect", "$disconnect", "$default", "ping//", "//ping"):
        if key not in by_key:
            yield f"the route {key} is missing"
    connect = routes.get(by_key.get("$connect"))
    if connect and connect["Properties"].get("AuthorizationType") != "CUSTOM":
        yield "the route $connect has no authorizer, so anybody could connect"
    for name, authorizer in of_type(template, "AWS::ApiGatewayV2::Authorizer").items():
        if authorizer["Properties"]["ApiId"] != {"Ref": "WebSocketApi"}:
            continue
        # API Gateway demands every one of them, and a token may come in three places.
        if authorizer["Properties"].get("IdentitySource"):
            yield f"{name}: it has an identity source"
    responses = of_type(template, "AWS::ApiGatewayV2::RouteResponse").values()
    answering = [response["Properties"]["RouteId"] for response in responses]
    for name in (by_key[key] for key in ("$default", "ping//", "//ping") if key in by_key):
        if routes[name]["Properties"].get("RouteResponseSelectionExpression") != "$default":
            yield f"{name}: RouteResponseSelectionExpression is not $default"
        if {"Ref": name} not in answering:
            yield f"{name}: no AWS::ApiGatewayV2::RouteResponse belongs to it"
    yield from stage_findings(template, by_key)


def stage_findings(template, routes):
    """What clients send is throttled in API Gateway, by settings that name routes which are there before the stage."""
    stage = template["Resources"]["WebSocketStage"]
    settings = stage["Properties"].get("RouteSettings", {})
    for key in ("$default", "ping//", "//ping"):
        if not {"ThrottlingRateLimit", "ThrottlingBurstLimit"} <= settings.get(key, {}).keys():
            yield f"WebSocketStage: nothing throttles the route {key}"
    resources = template["Resources"]
    waits_for = {name for part in stage.get("DependsOn", []) for name in (part, *referred(resources[part]))}
    for key in settings:
        if routes.get(key) not in waits_for:
            yield f"WebSocketStage: it does not wait for the route {key}, which its settings name"


def referred(value):
    """The names that a resource refers to with `Ref`."""
    if isinstance(value, dict):
        yield from ([value["Ref"]] if "Ref" in value else (name for one in value.values() for name in referred(one)))
    if isinstance(value, list):
        yield from (name for one in value for name in referred(one))


def table(template):
    """There is one table, `infra/table.json`, which tests and laptops use, describes it, and who keeps it can go back."""
    local = json.loads((INFRA / "table.json").read_text(encoding="utf-8"))
    (name, resource), = of_type(template, "AWS::DynamoDB::Table").items()
    properties = resource["Properties"]
    is_kept = resource["DeletionPolicy"] == "Retain"
    if is_kept != (template["Parameters"]["RetainTable"]["Default"] == "true"):
        yield f"{name}: RetainTable does not decide whether it is kept"
    if is_kept != ("PointInTimeRecoverySpecification" in properties):
        yield f"{name}: only a table that is kept needs point-in-time recovery, and that one does"
    if properties["TimeToLiveSpecification"] != {"AttributeName": "expires_at", "Enabled": True}:
        yield f"{name}: its time to live is not on for expires_at"
    for key in ("AttributeDefinitions", "BillingMode", "KeySchema"):
        if local.get(key) != properties.get(key):
            yield f"infra/table.json: {key} differs from the template"
    environment = json.loads((INFRA / "local-env.json").read_text(encoding="utf-8"))["Parameters"]
    if environment["TABLE_NAME"] != local["TableName"]:
        yield "infra/local-env.json: TABLE_NAME is not the table of infra/table.json"


def local_variables(_):
    """`sam local` silently drops a variable that no function has."""
    environment = json.loads((INFRA / "local-env.json").read_text(encoding="utf-8"))["Parameters"]
    # Only the source has those without a value.
    source = yaml_parse((INFRA.parent / "template.yaml").read_text(encoding="utf-8"))
    functions = [source["Globals"]["Function"], *(f["Properties"] for f in of_type(source, "AWS::Serverless::Function").values())]
    known = {name for function in functions for name in function.get("Environment", {}).get("Variables", {})}
    for name in sorted(environment.keys() - known):
        yield f"infra/local-env.json: no function of the template has the variable {name}"


def parameters(template):
    """Whoever deploys is told at once what is wrong, and not by a half-made stack."""
    for name, spec in template["Parameters"].items():
        if spec["Type"] == "String" and not {"AllowedPattern", "AllowedValues"} & spec.keys():
            yield f"{name}: a parameter of type String needs AllowedPattern or AllowedValues"


def concurrency(template):
    """The notifier is told what its two mappings really run at once."""
    variables = template["Resources"]["NotifierFunction"]["Properties"]["Environment"]["Variables"]
    for variable, mapping in (("FAN_OUT_CONCURRENCY", "FanOutMapping"), ("NOTIFY_CONCURRENCY", "NotificationMapping")):
        runs = template["Resources"][mapping]["Properties"]["ScalingConfig"]["MaximumConcurrency"]
        told = variables.get(variable)
        if told != runs and told != str(runs):
            yield f"NotifierFunction: {variable} is {told}, but {mapping} runs {runs} at once"


def watched(template):
    """Every function has an alarm for its errors and one for its throttles, in the nested stack."""
    if "OperationsStack" not in template["Resources"]:
        return
    operations = yaml_parse((INFRA / "operations.yaml").read_text(encoding="utf-8"))
    alarms = [alarm["Properties"] for alarm in of_type(operations, "AWS::CloudWatch::Alarm").values()]
    watches = {
        (alarm.get("MetricName"), dimension["Value"].get("Ref"))
        for alarm in alarms
        for dimension in alarm.get("Dimensions", [])
        if dimension["Name"] == "FunctionName"
    }
    given = template["Resources"]["OperationsStack"]["Properties"]["Parameters"]
    parameters = {value["Ref"]: name for name, value in given.items() if "Ref" in as_reference(value)}
    for function in of_type(template, "AWS::Lambda::Function"):
        for metric in ("Errors", "Throttles"):
            if (metric, parameters.get(function)) not in watches:
                yield f"infra/operations.yaml: no alarm watches the {metric} of {function}"


def as_reference(value):
    return value if isinstance(value, dict) else {}


def traced(template):
    """`Tracing` decides for every function."""
    for name, function in of_type(template, "AWS::Lambda::Function").items():
        if function["Properties"].get("TracingConfig") != {"Mode": {"Ref": "Tracing"}}:
            yield f"{name}: the parameter Tracing does not decide whether it is traced"


def retention(template):
    """Every function logs into a group of the template, and every group forgets."""
    groups = of_type(template, "AWS::Logs::LogGroup")
    for name, function in of_type(template, "AWS::Lambda::Function").items():
        group = function["Properties"].get("LoggingConfig", {}).get("LogGroup")
        if as_reference(group).get("Ref") not in groups:
            yield f"{name}: its log group is not in the template, so its logs are kept forever"
    for name, group in groups.items():
        if "RetentionInDays" not in group["Properties"]:
            yield f"{name}: its logs are kept forever"


CHECKS = (roles, routes, table, local_variables, parameters, concurrency, watched, traced, retention)


def main():
    template = yaml_parse(Path(sys.argv[1]).read_text(encoding="utf-8"))
    findings = [finding for check in CHECKS for finding in check(template)]
    sys.stdout.writelines(f"{finding}\n" for finding in findings)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
