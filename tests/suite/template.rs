//! What the template's parameters take, and what they refuse before anything is made.

use std::collections::BTreeMap;

use tests::stack::root;
use tidings_local::template::{Context, load};

const CERTIFICATE: &str = "arn:aws:acm:eu-west-1:123456789012:certificate/12345678-1234-1234-1234-123456789012";

/// What is wrong with a value of a parameter, if anything is.
fn refusal(name: &str, value: &str) -> Option<String> {
    let parameters = BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let context = Context { parameters: &parameters, sqs: "http://127.0.0.1:3030" };
    load(&root().join("template.yaml"), context).err().map(|error| error.to_string())
}

#[test]
fn every_value_that_makes_sense_is_taken() {
    for (name, value) in [
        ("DomainName", ""),
        ("DomainName", "ws.example.com"),
        ("DomainName", "a.b-c.d0.museum"),
        ("CertificateArn", CERTIFICATE),
        ("CertificateArn", "arn:aws-us-gov:acm:us-gov-west-1:123456789012:certificate/mrk-0123"),
        ("HostedZoneId", "Z0123456789ABCDEFGHIJ"),
        ("Rules", "[]"),
        ("Rules", "[\n{\"source\": \"*\"}\n]"),
        ("StageName", "prod"),
        ("FramesPerSecond", "0.5"),
        ("PublishesBurst", "1"),
    ] {
        assert_eq!(refusal(name, value), None, "{name}={value}");
    }
}

#[test]
fn every_value_that_makes_none_is_refused_by_name() {
    for (name, value) in [
        ("DomainName", "https://ws.example.com"),
        ("DomainName", "ws.example.com/dev"),
        ("DomainName", "WS.example.com"),
        ("DomainName", "localhost"),
        ("DomainName", "-a.example.com"),
        ("CertificateArn", "ws.example.com"),
        ("CertificateArn", "arn:aws:iam::123456789012:server-certificate/x"),
        ("HostedZoneId", "/hostedzone/Z0123"),
        ("Rules", "{}"),
        ("StageName", "pre-prod"),
        ("FramesPerSecond", "0"),
        ("PublishesBurst", "0"),
        ("TotalFramesPerSecond", "0"),
        ("FanOutConcurrency", "1"),
    ] {
        let refusal = refusal(name, value).unwrap_or_else(|| panic!("{name}={value} should be refused"));
        assert!(refusal.contains(name), "{name}={value}: {refusal}");
    }
}
