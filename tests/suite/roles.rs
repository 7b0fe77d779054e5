//! Least privilege: each function's role allows what the function can call, no more and no less.
//!
//! What a function can call is read from its program: every operation of the AWS SDK carries its name as a text, and so
//! does each call of ours; the linker keeps the text only where the operation can be reached. `TIDINGS_FUNCTIONS` names a folder of programs
//! as `cargo lambda build` makes them, to look at these instead of the quick profile's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use saphyr_parser::{Event, Parser};
use tests::stack::root;
use tidings_local_lambda::{Logs, build};
use tidings_local_stack::{Source, Stack};
use tidings_local_template::{Context, load};

/// An SDK: its crate, the names under which programs mention its service, its operations with the actions they need.
struct Service {
    sdk: &'static str,
    names: &'static [&'static str],
    operations: &'static [(&'static str, &'static [&'static str])],
}

const SERVICES: [Service; 6] = [
    Service {
        sdk: "aws-sdk-apigatewaymanagement",
        names: &["ApiGatewayManagementApi"],
        operations: &[
            ("DeleteConnection", &["execute-api:ManageConnections DELETE"]),
            ("GetConnection", &["execute-api:ManageConnections GET"]),
            ("PostToConnection", &["execute-api:ManageConnections POST"]),
        ],
    },
    Service {
        sdk: "aws-sdk-dynamodb",
        names: &["DynamoDB", "DynamoDB_20120810"],
        operations: &[
            ("BatchGetItem", &["dynamodb:BatchGetItem"]),
            ("BatchWriteItem", &["dynamodb:BatchWriteItem"]),
            ("DeleteItem", &["dynamodb:DeleteItem"]),
            ("DescribeTable", &["dynamodb:DescribeTable"]),
            ("GetItem", &["dynamodb:GetItem"]),
            ("PutItem", &["dynamodb:PutItem"]),
            ("Query", &["dynamodb:Query"]),
            ("Scan", &["dynamodb:Scan"]),
            // IAM checks a transaction by what is in it, see `IN_TRANSACTIONS`.
            ("TransactGetItems", &["dynamodb:GetItem"]),
            ("TransactWriteItems", &[]),
            ("UpdateItem", &["dynamodb:UpdateItem"]),
        ],
    },
    Service {
        sdk: "aws-sdk-eventbridge",
        names: &["EventBridge", "AWSEvents"],
        operations: &[("PutEvents", &["events:PutEvents"])],
    },
    Service { sdk: "aws-sdk-lambda", names: &["Lambda"], operations: &[("Invoke", &["lambda:InvokeFunction"])] },
    Service {
        sdk: "aws-sdk-secretsmanager",
        names: &["secretsmanager"],
        operations: &[("GetSecretValue", &["secretsmanager:GetSecretValue"])],
    },
    Service {
        sdk: "aws-sdk-sqs",
        names: &["AmazonSQS"],
        operations: &[
            ("ChangeMessageVisibility", &["sqs:ChangeMessageVisibility"]),
            ("ChangeMessageVisibilityBatch", &["sqs:ChangeMessageVisibility"]),
            ("DeleteMessage", &["sqs:DeleteMessage"]),
            ("DeleteMessageBatch", &["sqs:DeleteMessage"]),
            ("GetQueueAttributes", &["sqs:GetQueueAttributes"]),
            ("ReceiveMessage", &["sqs:ReceiveMessage"]),
            ("SendMessage", &["sqs:SendMessage"]),
            ("SendMessageBatch", &["sqs:SendMessage"]),
        ],
    },
];

/// What a transaction's writes are called in the texts of their builders, and the actions that they need. The requests
/// of a batch have similar names, and are no part of one.
const IN_TRANSACTIONS: [(&str, &[&str]); 6] = [
    ("ConditionCheck", &["dynamodb:ConditionCheckItem"]),
    ("Delete", &["dynamodb:DeleteItem"]),
    ("DeleteRequest", &[]),
    ("Put", &["dynamodb:PutItem"]),
    ("PutRequest", &[]),
    ("Update", &["dynamodb:UpdateItem"]),
];

/// What Lambda does with a function's role to read an event source (Lambda Developer Guide).
const READS_QUEUE: [&str; 3] = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"];
const READS_STREAM: [&str; 4] =
    ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"];

type Actions = BTreeSet<String>;

#[tokio::test(flavor = "multi_thread")]
async fn each_role_allows_what_its_function_can_call_and_nothing_else() {
    let path = root().join("template.yaml");
    let stack =
        load(&path, Context { parameters: &BTreeMap::new(), sqs: "http://127.0.0.1:3030", functions_elsewhere: false })
            .unwrap();
    let template = parse(&std::fs::read_to_string(&path).unwrap());
    let programs = programs(&stack).await;
    let functions = functions(&template);
    assert!(functions.keys().eq(programs.keys()), "{:?} are looked at, not {:?}", programs.keys(), functions.keys());
    let mut findings = Vec::new();
    for (function, properties) in functions {
        let program = std::fs::read(&programs[&function]).unwrap();
        let mut needed =
            needs(&program).unwrap_or_else(|unknown| panic!("{function} calls {unknown}: add it to SERVICES"));
        needed.extend(reads(&stack, &function));
        needed.extend(with_hook(&function));
        findings.extend(compare(&function, &needed, &allowed(properties)));
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_and_disconnect_can_send_with_a_hook_and_without() {
    let path = root().join("template.yaml");
    let stack =
        load(&path, Context { parameters: &BTreeMap::new(), sqs: "http://127.0.0.1:3030", functions_elsewhere: false })
            .unwrap();
    let programs = programs(&stack).await;
    let sends = "sqs:SendMessage".to_owned();
    for function in ["ConnectFunction", "DisconnectFunction"] {
        let without = needs(&std::fs::read(&programs[function]).unwrap()).unwrap();
        // Where presence is kept they ask for checks.
        assert!(without.contains(&sends), "{function}: {without:?}");
        assert!(with_hook(function).contains(&sends), "{function}");
    }
}

#[test]
fn every_sdk_of_the_functions_is_known_here() {
    let folders = std::fs::read_dir(root().join("functions")).unwrap().map(|entry| entry.unwrap().path());
    for folder in folders.chain([root().join("shared")]) {
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        for line in dependencies.lines().filter(|line| line.starts_with("aws-sdk-")) {
            let sdk = line.split(['.', ' ']).next().unwrap();
            let known = SERVICES.iter().any(|service| service.sdk == sdk);
            assert!(known, "{} depends on {sdk}: add its operations to SERVICES", folder.display());
        }
    }
}

#[test]
fn a_role_that_allows_more_or_less_is_found() {
    let template = parse(
        "Resources:
  F:
    Type: AWS::Serverless::Function
    Properties:
      Policies:
        - Statement:
            - {Effect: Allow, Action: [dynamodb:GetItem, dynamodb:Scan], Resource: !GetAtt T.Arn}
            - !If
              - Closes
              - {Action: execute-api:ManageConnections, Resource: !Sub 'arn:${Api}/${Stage}/DELETE/@connections/*'}
              - !Ref AWS::NoValue",
    );
    let allowed = allowed(functions(&template)["F"]);
    let program =
        b"\0GetItemDynamoDB.GetItemrpcAmazonSQS.SendMessageBatchOutput ApiGatewayManagementApi.DeleteConnection";
    let needed = needs(program).unwrap();
    assert_eq!(
        compare("F", &needed, &allowed),
        [
            "F can call sqs:SendMessage, which its role does not allow",
            "F's role allows dynamodb:Scan, which it cannot call"
        ]
    );
}

#[test]
fn operations_are_found_between_other_texts() {
    let check = |program: &str, expected: &[&str]| {
        let expected = expected.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(needs(program.as_bytes()), Ok(expected), "{program}");
    };
    check("DynamoDB.BatchWriteItemPutRequest was required when building PutRequestx", &["dynamodb:BatchWriteItem"]);
    check(
        "DynamoDB_20120810.TransactWriteItemsrequired when building Puttablerequired when building Updaterequired when \
         building ConditionCheck",
        &["dynamodb:ConditionCheckItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
    );
    check("required when building Delete", &[]);
    check("secretsmanager.GetSecretValue", &["secretsmanager:GetSecretValue"]);
    check("DynamoDB.llvm.7 DynamoDB", &[]);
}

#[test]
fn an_operation_that_nobody_has_thought_of_is_found() {
    let unknown = needs(b"DynamoDB.GetItem DynamoDB.CreateGlobalTable").unwrap_err();
    assert_eq!(unknown, "DynamoDB.CreateGlobalTable");
}

/// The programs by logical id.
async fn programs(stack: &Stack) -> BTreeMap<String, PathBuf> {
    if let Some(folder) = std::env::var_os("TIDINGS_FUNCTIONS") {
        let program = |path: &PathBuf| PathBuf::from(&folder).join(path.file_name().unwrap()).join("bootstrap");
        let code = stack.functions.iter().map(|(id, function)| (id.clone(), program(function.code.as_ref().unwrap())));
        return code.collect();
    }
    let logs = Arc::new(Logs::stderr(false));
    let plan = build::Plan::new(stack).await.unwrap();
    plan.build(build::Options { quiet: true, ..build::Options::default() }, &logs).await.unwrap()
}

/// What a function needs whose hook notifies: an application's role is to do for it.
fn with_hook(function: &str) -> Actions {
    let program = match function {
        "ConnectFunction" => env!("CARGO_BIN_EXE_connect-notifies"),
        "DisconnectFunction" => env!("CARGO_BIN_EXE_disconnect-notifies"),
        _ => return Actions::new(),
    };
    needs(&std::fs::read(program).unwrap()).unwrap()
}

/// The actions that a program's calls need, or a call of which that is not known.
fn needs(program: &[u8]) -> Result<Actions, String> {
    let mut actions = Actions::new();
    let mut transacts = false;
    for (before, text) in around(program, b'.') {
        let is_named = |service: &&Service| service.names.iter().any(|name| before.ends_with(name.as_bytes()));
        let Some(service) = SERVICES.iter().find(is_named).filter(|_| text.first().is_some_and(u8::is_ascii_uppercase))
        else {
            continue;
        };
        let Some((operation, needed)) = longest(service.operations, text) else {
            let name = text.iter().take(40).take_while(|byte| byte.is_ascii_alphanumeric());
            let name: String = name.map(|byte| char::from(*byte)).collect();
            return Err(format!("{}.{name}", service.names[0]));
        };
        transacts |= *operation == "TransactWriteItems";
        actions.extend(needed.iter().map(|action| (*action).to_owned()));
    }
    if transacts {
        for (_, text) in around(program, b' ').filter(|(before, _)| before.ends_with(b"required when building")) {
            let needed = longest(&IN_TRANSACTIONS, text).map(|(_, needed)| *needed).unwrap_or_default();
            actions.extend(needed.iter().map(|action| (*action).to_owned()));
        }
    }
    Ok(actions)
}

/// What stands before and after each byte of this kind.
fn around(program: &[u8], mark: u8) -> impl Iterator<Item = (&[u8], &[u8])> {
    let marks = program.iter().enumerate().filter(move |(_, byte)| **byte == mark);
    marks.map(|(at, _)| (&program[..at], &program[at + 1..]))
}

/// Texts stand in a program without an end, so the longest name that fits is the right one.
fn longest<'a, T>(names: &'a [(&'static str, T)], text: &[u8]) -> Option<&'a (&'static str, T)> {
    let fitting = names.iter().filter(|(name, _)| text.starts_with(name.as_bytes()));
    fitting.max_by_key(|(name, _)| name.len())
}

/// What Lambda needs of the role for the function's event sources.
fn reads(stack: &Stack, function: &str) -> Actions {
    let sources = stack.event_sources.values().filter(|source| source.function == function);
    let needed = sources.flat_map(|source| match source.source {
        Source::Queue { .. } => READS_QUEUE.as_slice(),
        Source::Table { .. } => READS_STREAM.as_slice(),
    });
    needed.map(|action| (*action).to_owned()).collect()
}

fn compare(function: &str, needed: &Actions, allowed: &Actions) -> Vec<String> {
    let missing = needed.difference(allowed);
    let missing = missing.map(|action| format!("{function} can call {action}, which its role does not allow"));
    let idle = allowed.difference(needed);
    let idle = idle.map(|action| format!("{function}'s role allows {action}, which it cannot call"));
    missing.chain(idle).collect()
}

/// A template, as far as this needs it: tags are left out.
#[derive(Debug)]
enum Node {
    Text(String),
    List(Vec<Node>),
    Map(BTreeMap<String, Node>),
}

impl Node {
    fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.get(key),
            Self::Text(_) | Self::List(_) => None,
        }
    }

    /// All mappings in it that have this key, however deep.
    fn with<'a>(&'a self, key: &str, found: &mut Vec<&'a Self>) {
        match self {
            Self::Text(_) => {}
            Self::List(items) => items.iter().for_each(|item| item.with(key, found)),
            Self::Map(entries) if entries.contains_key(key) => found.push(self),
            Self::Map(entries) => entries.values().for_each(|entry| entry.with(key, found)),
        }
    }

    fn texts(&self) -> Vec<&str> {
        match self {
            Self::Text(text) => vec![text],
            Self::List(items) => items.iter().flat_map(Self::texts).collect(),
            Self::Map(entries) => entries.values().flat_map(Self::texts).collect(),
        }
    }
}

fn parse(text: &str) -> Node {
    let mut events = Parser::new_from_str(text).map(|event| event.unwrap().0);
    let is_frame = |event: &Event<'_>| matches!(event, Event::StreamStart | Event::DocumentStart(_));
    let first = events.by_ref().find(|event| !is_frame(event)).unwrap();
    node(first, &mut events)
}

fn node<'a>(event: Event<'a>, events: &mut impl Iterator<Item = Event<'a>>) -> Node {
    match event {
        Event::Scalar(text, ..) => Node::Text(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match events.next().unwrap() {
                    Event::SequenceEnd => return Node::List(items),
                    item => items.push(node(item, events)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut entries = BTreeMap::new();
            loop {
                match events.next().unwrap() {
                    Event::MappingEnd => return Node::Map(entries),
                    Event::Scalar(key, ..) => {
                        let value = events.next().unwrap();
                        entries.insert(key.into_owned(), node(value, events));
                    }
                    other => panic!("a key should be text, not {other:?}"),
                }
            }
        }
        other => panic!("{other:?} is not expected in the template"),
    }
}

/// The properties of the template's functions, by logical id.
fn functions(template: &Node) -> BTreeMap<String, &Node> {
    let Some(Node::Map(resources)) = template.get("Resources") else { panic!("the template has resources") };
    let is_function =
        |resource: &Node| resource.get("Type").is_some_and(|kind| kind.texts() == ["AWS::Serverless::Function"]);
    let functions = resources.iter().filter(|(_, resource)| is_function(resource));
    functions.map(|(id, resource)| (id.clone(), resource.get("Properties").unwrap())).collect()
}

/// What a function's statements allow, those under a condition included. `infra/check.py` sees to it that there is
/// nothing but statements.
fn allowed(properties: &Node) -> Actions {
    let mut statements = Vec::new();
    if let Some(policies) = properties.get("Policies") {
        policies.with("Action", &mut statements);
    }
    let mut actions = Actions::new();
    for statement in statements {
        for action in statement.get("Action").unwrap().texts() {
            if action != "execute-api:ManageConnections" {
                actions.insert(action.to_owned());
                continue;
            }
            for resource in statement.get("Resource").unwrap().texts() {
                let method = resource.strip_suffix("/@connections/*").and_then(|path| path.rsplit('/').next());
                actions.insert(format!("{action} {}", method.unwrap_or(resource)));
            }
        }
    }
    actions
}
