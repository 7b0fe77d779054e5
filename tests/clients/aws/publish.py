"""AWS's SDK for Python, unmodified, against a gateway: `publish.py TOPIC QUEUE_URL`. It finds the gateway by the variables of every
SDK (`AWS_ENDPOINT_URL_SNS`, `AWS_ENDPOINT_URL_EVENTBRIDGE`, `AWS_ENDPOINT_URL_SQS`) and prints what it has been told.
"""

import json
import sys

import boto3
from botocore.exceptions import ClientError


def put_events(events):
    entry = {"Source": "shop", "DetailType": "Order shipped", "Detail": json.dumps({"order": 42, "buyer": "ada"})}
    answer = events.put_events(Entries=[entry, {**entry, "Detail": "no JSON"}])
    assert answer["FailedEntryCount"] == 1, answer
    assert answer["Entries"][1]["ErrorCode"] == "MalformedDetail", answer


def publish(sns, topic):
    published = sns.publish(
        TopicArn=topic,
        Subject="Greeting",
        Message="hello & <good> morning",
        MessageAttributes={
            "kind": {"DataType": "String", "StringValue": "news"},
            "raw": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
        },
    )
    assert published["MessageId"], published
    batch = sns.publish_batch(
        TopicArn=topic,
        PublishBatchRequestEntries=[
            {"Id": "a", "Message": "first", "MessageAttributes": {"kind": {"DataType": "String", "StringValue": "other"}}},
            {"Id": "b", "Message": "second", "Subject": "broken\nsubject"},
        ],
    )
    assert [one["Id"] for one in batch["Successful"]] == ["a"], batch
    assert [(one["Id"], one["Code"]) for one in batch["Failed"]] == [("b", "InvalidParameter")], batch


def ask(sns, topic):
    assert topic in [one["TopicArn"] for one in sns.list_topics()["Topics"]]
    subscriptions = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert sorted(one["Protocol"] for one in subscriptions) == ["lambda", "sqs", "sqs"], subscriptions
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsConfirmed"] == "3"
    assert sns.create_topic(Name=topic.rsplit(":", 1)[1])["TopicArn"] == topic
    try:
        sns.publish(TopicArn=topic + "x", Message="m")
    except ClientError as error:
        assert (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]) == ("NotFound", 404)
    else:
        raise AssertionError("there is no such topic")


def receive(sqs, url, count):
    """All messages of a queue, each once: the body, and the names of its attributes."""
    found = []
    while len(found) < count:
        answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
        for message in answer["Messages"]:
            found.append((message["Body"], sorted(message.get("MessageAttributes", {}))))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def main():
    topic, raw, filtered = sys.argv[1:]
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    put_events(boto3.client("events"))
    publish(sns, topic)
    ask(sns, topic)
    assert receive(sqs, raw, 2) == [("hello & <good> morning", ["kind", "raw"]), ("first", ["kind"])]
    [(body, attributes)] = receive(sqs, filtered, 1)
    envelope = json.loads(body)
    assert (attributes, envelope["Type"], envelope["TopicArn"]) == ([], "Notification", topic), envelope
    assert (envelope["Message"], envelope["MessageAttributes"]["kind"]) == ("first", {"Type": "String", "Value": "other"})
    print("done")


main()
