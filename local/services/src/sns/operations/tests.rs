use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use tidings_local_stack::{FilterPolicy, FilterScope, Subscription, Topic};

const NEWS: &str = "arn:aws:sns:us-east-1:123456789012:news";
const ORDERS: &str = "arn:aws:sns:us-east-1:123456789012:orders.fifo";

fn subscription(id: &str, topic: &str, queue: Option<&str>) -> Subscription {
    let subscriber = match queue {
        Some(name) => Subscriber::Queue { name: name.to_owned(), arn: format!("arn:{name}") },
        None => Subscriber::Function { id: "F".to_owned() },
    };
    Subscription { id: id.to_owned(), topic: topic.to_owned(), subscriber, raw: false, filter: None }
}

fn sns(subscriptions: &[Subscription]) -> (Sns, UnboundedReceiver<Published>) {
    let topic = |arn: &str| Topic {
        name: arn.rsplit(':').next().unwrap().to_owned(),
        arn: arn.to_owned(),
        fifo: arn.ends_with(".fifo"),
        content_based_deduplication: false,
    };
    Sns::new("us-east-1", "123456789012", &[topic(NEWS), topic(ORDERS)], subscriptions)
}

fn attributes() -> Value {
    json!({"kind": {"DataType": "String", "StringValue": "a"}, "n": {"DataType": "Number", "StringValue": "5"},
        "all": {"DataType": "String.Array", "StringValue": "[\"x\"]"}, "raw": {"DataType": "Binary", "BinaryValue": "AAEC"}})
}

#[test]
fn a_function_gets_the_documented_event() {
    let (sns, mut published) = sns(&[subscription("S", NEWS, None)]);
    let input = json!({"TopicArn": NEWS, "Message": "Hello", "Subject": "Greeting", "MessageAttributes": attributes()});
    let answer = call(&sns, "Publish", &input).unwrap();
    let published = published.try_recv().unwrap();
    let subscribed = &published.subscribers[0];
    assert!(subscribed.arn.starts_with(&format!("{NEWS}:")));
    let mut event = published.event(subscribed);
    let time = event["Records"][0]["Sns"].as_object_mut().unwrap().remove("Timestamp").unwrap();
    assert_eq!(time.as_str().unwrap().len(), "2019-01-02T12:45:07.000Z".len());
    let shown = json!({"kind": {"Type": "String", "Value": "a"}, "n": {"Type": "Number", "Value": "5"},
        "all": {"Type": "String.Array", "Value": "[\"x\"]"}, "raw": {"Type": "Binary", "Value": "AAEC"}});
    let expected = json!({"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": subscribed.arn,
        "Sns": {"Type": "Notification", "MessageId": answer["MessageId"], "TopicArn": NEWS, "Subject": "Greeting",
            "Message": "Hello", "SignatureVersion": "1", "Signature": "EXAMPLE", "SigningCertUrl": "EXAMPLE",
            "UnsubscribeUrl": "EXAMPLE", "MessageAttributes": shown}}]});
    assert_eq!(event, expected);
}

#[test]
fn a_function_is_told_that_there_is_no_subject() {
    let (sns, mut published) = sns(&[subscription("S", NEWS, None)]);
    sns.publish(NEWS, "x").unwrap();
    let published = published.try_recv().unwrap();
    let event = published.event(&published.subscribers[0]);
    assert_eq!(event["Records"][0]["Sns"].get("Subject"), Some(&Value::Null));
    assert_eq!(event["Records"][0]["Sns"]["MessageAttributes"], json!({}));
}

#[test]
fn a_queue_gets_an_envelope_or_with_raw_delivery_the_message_and_its_attributes() {
    let raw = Subscription { raw: true, ..subscription("R", NEWS, Some("raw")) };
    let (sns, mut published) = sns(&[subscription("S", NEWS, Some("jobs")), raw]);
    call(&sns, "Publish", &json!({"TopicArn": NEWS, "Message": "Hello", "MessageAttributes": attributes()})).unwrap();
    let published = published.try_recv().unwrap();
    let [enveloped, raw] = [0, 1].map(|n| published.queue_message(&published.subscribers[n]));
    let body: Value = serde_json::from_str(&enveloped.body).unwrap();
    assert_eq!((&body["Type"], &body["Message"], body.get("Subject")), (&json!("Notification"), &json!("Hello"), None));
    assert_eq!(body["SigningCertURL"], "EXAMPLE");
    assert!(enveloped.attributes.is_empty());
    assert_eq!(raw.body, "Hello");
    assert_eq!(raw.attributes["all"].data_type, "String.Array");
    assert_eq!(raw.attributes["raw"].content, Content::Binary(vec![0, 1, 2]));
}

#[test]
fn a_filter_policy_decides_who_gets_a_message() {
    let filtered = |id: &str, scope, pattern: Value| Subscription {
        filter: Some(FilterPolicy::new(scope, pattern).unwrap()),
        ..subscription(id, NEWS, None)
    };
    let (sns, mut published) = sns(&[
        subscription("all", NEWS, None),
        filtered("kind", FilterScope::Attributes, json!({"kind": ["a"], "n": [{"numeric": [">", 4]}], "all": ["x"]})),
        filtered("other", FilterScope::Attributes, json!({"kind": ["b"]})),
        filtered("body", FilterScope::Body, json!({"order": {"n": [7]}})),
    ]);
    let mut got = |message: &str, attributes: Value| {
        call(&sns, "Publish", &json!({"TopicArn": NEWS, "Message": message, "MessageAttributes": attributes})).unwrap();
        let published = published.try_recv().unwrap();
        let ids: Vec<_> = published.subscribers.iter().map(|one| one.subscription.id.clone()).collect();
        (ids.join(" "), published.filtered)
    };
    assert_eq!(got("x", attributes()), ("all kind".to_owned(), 2));
    assert_eq!(got(r#"{"order":{"n":7}}"#, json!({})), ("all body".to_owned(), 2));
}

#[test]
fn a_message_may_have_a_text_for_each_protocol() {
    let (sns, mut published) = sns(&[subscription("F", NEWS, None), subscription("Q", NEWS, Some("q"))]);
    let message = json!({"default": "d", "lambda": "for functions"}).to_string();
    call(&sns, "Publish", &json!({"TopicArn": NEWS, "Message": message, "MessageStructure": "json"})).unwrap();
    let published = published.try_recv().unwrap();
    let body: Value = serde_json::from_str(&published.queue_message(&published.subscribers[1]).body).unwrap();
    let event = published.event(&published.subscribers[0]);
    assert_eq!((&event["Records"][0]["Sns"]["Message"], &body["Message"]), (&json!("for functions"), &json!("d")));
}

#[test]
fn a_fifo_topic_numbers_its_messages_and_drops_doubles() {
    let (sns, mut published) = sns(&[subscription("Q", ORDERS, Some("q.fifo"))]);
    let publish = |id: &str| {
        let input = json!({"TopicArn": ORDERS, "Message": "m", "MessageGroupId": "g", "MessageDeduplicationId": id});
        call(&sns, "Publish", &input).unwrap()
    };
    let (first, double, second) = (publish("1"), publish("1"), publish("2"));
    assert_eq!(first, double);
    assert!(first["SequenceNumber"].as_str() < second["SequenceNumber"].as_str());
    let message = published.try_recv().unwrap();
    let message = message.queue_message(&message.subscribers[0]);
    assert_eq!((message.group.as_deref(), message.deduplication.as_deref()), (Some("g"), Some("1")));
    published.try_recv().unwrap();
    assert!(published.try_recv().is_err(), "the double is gone");
}

#[test]
fn what_sns_does_not_take_is_refused_in_its_words() {
    let (sns, _published) = sns(&[]);
    for (action, input, code, words) in [
        ("Publish", json!({"TopicArn": "arn:x", "Message": "m"}), "NotFound", "Topic does not exist"),
        ("Publish", json!({"Message": "m"}), "InvalidParameter", "TopicArn"),
        ("Publish", json!({"PhoneNumber": "+1", "Message": "m"}), "InvalidParameter", "PhoneNumber"),
        ("Publish", json!({"TopicArn": NEWS, "Message": ""}), "InvalidParameter", "Empty message"),
        ("Publish", json!({"TopicArn": NEWS, "Message": "x".repeat(MOST_BYTES + 1)}), "InvalidParameter", "too long"),
        ("Publish", json!({"TopicArn": NEWS, "Message": "m", "Subject": "a\nb"}), "InvalidParameter", "Subject"),
        (
            "Publish",
            json!({"TopicArn": NEWS, "Message": "{}", "MessageStructure": "json"}),
            "InvalidParameter",
            "default",
        ),
        (
            "Publish",
            json!({"TopicArn": NEWS, "Message": "m", "MessageAttributes": {"a": {"DataType": "Map"}}}),
            "ParameterValueInvalid",
            "'a'",
        ),
        (
            "Publish",
            json!({"TopicArn": NEWS, "Message": "m", "MessageAttributes": {"a": {"DataType": "Number", "StringValue": "x"}}}),
            "ParameterValueInvalid",
            "Number",
        ),
        ("Publish", json!({"TopicArn": ORDERS, "Message": "m"}), "InvalidParameter", "MessageGroupId"),
        (
            "Publish",
            json!({"TopicArn": ORDERS, "Message": "m", "MessageGroupId": "g"}),
            "InvalidParameter",
            "ContentBased",
        ),
        ("PublishBatch", json!({"TopicArn": NEWS}), "EmptyBatchRequest", "any entries"),
        ("CreateTopic", json!({"Name": "a b"}), "InvalidParameter", "Topic Name"),
        ("Subscribe", json!({"TopicArn": NEWS}), "InvalidAction", "the template's"),
    ] {
        let refusal = call(&sns, action, &input).unwrap_err();
        assert_eq!(refusal.code, code, "{input}");
        assert!(refusal.message.contains(words), "{}", refusal.message);
    }
}

#[test]
fn of_a_batch_each_message_succeeds_or_fails_by_itself() {
    let (sns, mut published) = sns(&[subscription("S", NEWS, None)]);
    let entries = json!([{"Id": "1", "Message": "a"}, {"Id": "2", "Message": ""}, {"Id": "3", "Message": "c"}]);
    let answer = call(&sns, "PublishBatch", &json!({"TopicArn": NEWS, "PublishBatchRequestEntries": entries})).unwrap();
    let ids = |key: &str| answer[key].as_array().unwrap().iter().map(|one| one["Id"].clone()).collect::<Vec<_>>();
    assert_eq!((ids("Successful"), ids("Failed")), (vec![json!("1"), json!("3")], vec![json!("2")]));
    assert_eq!(
        [published.try_recv().unwrap(), published.try_recv().unwrap()].map(|one| one.text().to_owned()),
        ["a", "c"]
    );
}

#[test]
fn topics_are_made_and_listed() {
    let (sns, _published) = sns(&[subscription("S", NEWS, Some("q"))]);
    let made = call(&sns, "CreateTopic", &json!({"Name": "more"})).unwrap();
    assert_eq!(made, json!({"TopicArn": "arn:aws:sns:us-east-1:123456789012:more"}));
    assert_eq!(call(&sns, "CreateTopic", &json!({"Name": "news"})).unwrap(), json!({"TopicArn": NEWS}));
    let listed = call(&sns, "ListTopics", &json!({})).unwrap();
    assert_eq!(listed["Topics"].as_array().unwrap().len(), 3);
    let subscriptions = call(&sns, "ListSubscriptionsByTopic", &json!({"TopicArn": NEWS})).unwrap();
    assert_eq!(subscriptions["Subscriptions"][0]["Endpoint"], "arn:q");
    let attributes = call(&sns, "GetTopicAttributes", &json!({"TopicArn": NEWS})).unwrap();
    assert_eq!(attributes["Attributes"]["SubscriptionsConfirmed"], "1");
    assert_eq!((sns.find("news").as_deref(), sns.find(NEWS).as_deref(), sns.find("x")), (Some(NEWS), Some(NEWS), None));
}
