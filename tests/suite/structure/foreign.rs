//! Reads the public signatures of the toolkit's libraries: no type of the AWS SDK, of Lambda's events or of HTTP stands in one,
//! but where a feature says so. `clippy` sees to it that what is `pub` can be reached (`unreachable_pub`).

use std::sync::LazyLock;

use regex_lite::Regex;
use tests::stack::root;

use super::imports::{TESTS, imported};
use super::{code, files};

/// What is public with the feature `sdk` or `lambda` alone.
const WITH_A_FEATURE: [&str; 3] = ["shared/src/aws/http_client.rs", "shared/src/aws/sdk.rs", "shared/src/lambda.rs"];
/// The same, in a file that has other things.
const ITEMS_WITH_A_FEATURE: [&str; 1] = ["pub type Exchange"];

static FOREIGN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:aws_\w+|http|http_body_util|hyper\w*|jsonwebtoken|lambda_runtime|ring|rustls)(?:::|$)").unwrap()
});
/// The head of a function, a field, all of an enum, and what a type can be made from.
static PUBLIC: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?m)^ *pub (?:async |const )*(?:fn|type|trait) [^{;]*|\(pub [^;]*|^pub enum [\s\S]*?^\}|^ *pub \w+: .*|^impl[^{]*From<[^{]*",
    )
    .unwrap()
});
static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[A-Za-z_]\w*(?:::\w+)*").unwrap());

/// The public signatures of a file that name a foreign type, each in one line.
fn found(text: &str) -> Vec<String> {
    let text = code(text);
    let text = TESTS.find(&text).map_or(text.as_str(), |found| &text[..found.start()]);
    let imports = imported(text);
    let foreign: Vec<_> = imports.iter().filter(|import| FOREIGN.is_match(import)).collect();
    let is_foreign = |name: &str| {
        let first = name.split("::").next().unwrap_or_default();
        FOREIGN.is_match(name) || foreign.iter().any(|import| import.rsplit("::").next() == Some(first))
    };
    let signatures = PUBLIC.find_iter(text).map(|signature| signature.as_str().trim());
    let naming = signatures.filter(|signature| NAME.find_iter(signature).any(|name| is_foreign(name.as_str())));
    let naming = naming.filter(|signature| !ITEMS_WITH_A_FEATURE.iter().any(|item| signature.starts_with(item)));
    naming.map(|signature| signature.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn no_public_signature_names_what_is_not_ours() {
    let root = root();
    let folders = files(&root.join("functions"), &["rs"]).into_iter().chain(files(&root.join("shared/src"), &["rs"]));
    let mut findings = Vec::new();
    for path in folders {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        if name.contains("/tests/") || WITH_A_FEATURE.contains(&name.as_str()) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        findings.extend(found(&text).into_iter().map(|signature| format!("{name}: {signature}")));
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn what_is_foreign_is_found_wherever_it_stands() {
    let text = "
use aws_sdk_sqs::{Client, types::Message as Sqs};
use http::Uri;
pub struct Queue(Client);
pub struct Bare(pub Client);
pub struct Open {
    pub client: Client,
    pub url: String,
}
pub enum Error {
    Sdk(Box<aws_sdk_sqs::Error>),
}
impl From<Uri> for Queue {
    pub fn new(
        client: Client,
    ) -> Self {}
    pub(crate) fn with(client: Client) {}
    pub fn name(&self) -> &str { Client::name() }
}
";
    let expected = [
        "(pub Client)",
        "pub client: Client,",
        "pub enum Error { Sdk(Box<aws_sdk_sqs::Error>), }",
        "impl From<Uri> for Queue",
        "pub fn new( client: Client, ) -> Self",
    ];
    assert_eq!(found(text), expected);
}
