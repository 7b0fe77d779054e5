"""Make the template as plain CloudFormation, infra/plain.yaml and infra/plain-retain.yaml, of template.yaml.

    python infra/plain.py [--check]

SAM's shorthands are written out; parameters and conditions stay. The functions' programs and the template of the alarms are in
S3, where the parameters CodeBucket and CodePrefix say. The second file has the table that outlives its stack and no parameter
to decide that. `tidings template --plain` and `tidings template --plain --retain` write them. With --check nothing is written,
and it exits 1 when a file is not what it would write.
"""

import argparse
import sys

import yaml

from translate import NO_VALUE, ROOT, expand, read

# What is made, and whether its table is kept by all means.
FILES = {ROOT / "infra" / "plain.yaml": False, ROOT / "infra" / "plain-retain.yaml": True}

# It exists in every partition; SAM takes an older one in some.
TRACES = "AWSXRayDaemonWriteAccess"

PARAMETERS = {
    "CodeBucket": {
        "Description": "Bucket of this region with the functions' programs and the template of the alarms.",
        "Type": "String",
        "AllowedPattern": r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        "ConstraintDescription": "must be the name of a bucket.",
    },
    "CodePrefix": {
        "Description": (
            "What the keys in CodeBucket begin with, such as shop/1.4.2/ for shop/1.4.2/connect/bootstrap.zip. Give each release "
            "its own, for CloudFormation updates a function when its key changes."
        ),
        "Type": "String",
        "MaxLength": 200,
        "AllowedPattern": r"([A-Za-z0-9_.-]+/)+",
        "ConstraintDescription": "must be names of folders, each with a slash behind it.",
    },
}


class Dumper(yaml.SafeDumper):
    """Writes what is the same in several places several times, as people do."""

    def ignore_aliases(self, data):
        return True


def in_bucket(template):
    """Let functions and the nested stack be found where the parameters say."""
    template["Parameters"] = PARAMETERS | template["Parameters"]
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    groups.insert(0, {"Label": {"default": "Programs"}, "Parameters": list(PARAMETERS)})
    # It is for `tidings dev`, which builds programs and takes none from S3.
    del template["Metadata"]["tidings"]
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            # The names that `cargo lambda build --output-format zip` gives.
            key = "${CodePrefix}" + resource.pop("Metadata")["BuildProperties"]["Binary"] + "/bootstrap.zip"
            properties["CodeUri"] = {"Bucket": {"Ref": "CodeBucket"}, "Key": {"Fn::Sub": key}}
        if resource["Type"] == "AWS::CloudFormation::Stack":
            del resource["Metadata"]
            address = "https://${CodeBucket}.s3.${AWS::Region}.${AWS::URLSuffix}/${CodePrefix}"
            properties["TemplateURL"] = {"Fn::Sub": address + properties["TemplateURL"].rpartition("/")[2]}


def for_every_partition(value):
    """The value with ARNs that hold in every partition, and without what is not there or says that SAM made it."""
    if isinstance(value, list):
        return [for_every_partition(one) for one in value]
    if isinstance(value, dict):
        kept = {key: one for key, one in value.items() if one != NO_VALUE and not is_sams_tag(key, one)}
        return {key: for_every_partition(one) for key, one in kept.items()}
    if isinstance(value, str) and value.startswith("arn:aws:iam::aws:policy/"):
        path = value.removeprefix("arn:aws:").replace("AWSXrayWriteOnlyAccess", TRACES)
        return {"Fn::Sub": "arn:${AWS::Partition}:" + path}
    return value


def is_sams_tag(key, value):
    return key == "Tags" and [tag["Key"] for tag in value] == ["lambda:createdBy"]


def keep_table(template):
    """Leave only the table that is kept: the parameter that decides it goes, and with it its conditions."""
    del template["Parameters"]["RetainTable"]
    for name in ("KeepsTable", "DropsTable"):
        del template["Conditions"][name]
    for group in template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]:
        group["Parameters"] = [name for name in group["Parameters"] if name != "RetainTable"]
    resources = template["Resources"]
    dropped = [name for name, resource in resources.items() if resource.get("Condition") == "DropsTable"]
    for name in dropped:
        del resources[name]
    kept = [resource for resource in resources.values() if resource.get("Condition") == "KeepsTable"]
    for resource in kept:
        del resource["Condition"]
    for section in ("Resources", "Outputs"):
        template[section] = with_kept_table(template[section])


def with_kept_table(value):
    """The value as it is where the condition KeepsTable holds."""
    if isinstance(value, list):
        return [with_kept_table(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.get("Fn::If", [None])[0] == "KeepsTable":
        return with_kept_table(value["Fn::If"][1])
    return {key: with_kept_table(one) for key, one in value.items()}


def plain(retain):
    """Return the text of a plain template."""
    template = read(ROOT / "template.yaml")
    in_bucket(template)
    defaults = {name: spec["Default"] for name, spec in template["Parameters"].items() if "Default" in spec}
    expanded = for_every_partition(expand(template, defaults, "us-east-1"))
    if retain:
        keep_table(expanded)
    return yaml.dump(expanded, Dumper=Dumper, sort_keys=False, width=120, allow_unicode=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is out of step")
    arguments = parser.parse_args()
    for path, retain in FILES.items():
        text = plain(retain)
        if not arguments.check:
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            sys.exit(f"infra/{path.name} is out of step with template.yaml: run `python infra/plain.py`")


if __name__ == "__main__":
    main()
