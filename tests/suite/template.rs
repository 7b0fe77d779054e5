//! What the template's parameters take, what they refuse before anything is made, and what they change.

use tests::stack::root;
use tidings_local_stack::{Authorization, Stack};
use tidings_local_template::{Context, TemplateError, load, to_json};

const CERTIFICATE: &str = "arn:aws:acm:eu-west-1:123456789012:certificate/12345678-1234-1234-1234-123456789012";

fn load_with(parameters: &[(&str, &str)]) -> Result<Stack, TemplateError> {
    let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let context = Context { parameters: &parameters, sqs: "http://127.0.0.1:3030", functions_elsewhere: false };
    load(&root().join("template.yaml"), context)
}

/// What is wrong with a value of a parameter, if anything is.
fn refusal(name: &str, value: &str) -> Option<String> {
    // A domain needs a certificate too.
    load_with(&[("CertificateArn", CERTIFICATE), (name, value)]).err().map(|error| error.to_string())
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
        ("StageName", "pre-prod_2"),
        ("FramesPerSecond", "0.5"),
        ("PublishesBurst", "1"),
        ("TotalFramesPerSecond", "0"),
        ("TotalFramesBurst", "0"),
        ("PushesPerSecond", "0"),
        ("FanOutConcurrency", "40"),
        ("NotifyConcurrency", "500"),
        ("DefaultPermissions", " subscribe:a/** publish:b "),
        ("TokenAudience", "a-b.c, https://api.example.com/"),
        ("AllowedOrigins", "https://app.example.com:8443 , http://localhost"),
        ("JwksUrl", "http://localhost:3030/keys"),
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
        ("Rules", "[{\"topic\": \"é\"}]"),
        ("StageName", "pre/prod"),
        ("StageName", ""),
        ("UserClaim", "né"),
        ("AnonymousPermissions", "subscribe:é"),
        ("AllowedOrigins", "https://app.example.com/"),
        ("FramesPerSecond", "0"),
        ("PublishesBurst", "0"),
        ("TotalFramesPerSecond", "-1"),
        ("FanOutConcurrency", "1"),
        ("FanOutConcurrency", "41"),
        ("NotifyConcurrency", "1"),
        ("NotifyConcurrency", "501"),
    ] {
        let refusal = refusal(name, value).unwrap_or_else(|| panic!("{name}={value} should be refused"));
        assert!(refusal.contains(name), "{name}={value}: {refusal}");
    }
}

/// Where an account may make 2,500 requests a second and not 10,000.
const SMALL: [&str; 13] = [
    "af-south-1",
    "ap-south-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-7",
    "ca-west-1",
    "eu-central-2",
    "eu-south-1",
    "eu-south-2",
    "il-central-1",
    "me-central-1",
    "mx-central-1",
];

/// Pushes, frames and pings a second, and frames at once.
fn quotas(parameters: &[(&str, &str)]) -> [f64; 4] {
    let stack = load_with(parameters).unwrap();
    let limits = &stack.apis["WebSocketApi"].stages[0].limits;
    let pushes = stack.functions["NotifierFunction"].environment["PUSHES_PER_SECOND"].parse().unwrap();
    [
        pushes,
        limits["$default"].rate,
        limits["ping//"].rate + limits["//ping"].rate,
        f64::from(limits["$default"].burst),
    ]
}

#[test]
fn by_default_pushes_frames_and_pings_are_the_quota_of_the_region() {
    for region in ["us-east-1", "eu-west-1", "ap-southeast-1", "sa-east-1", "one-to-come-1"] {
        let quotas = quotas(&[("AWS::Region", region)]);
        assert_eq!(quotas, [8_000.0, 1_500.0, 500.0, 1_000.0], "{region}");
        assert_eq!(quotas[..3].iter().sum::<f64>(), 10_000.0, "{region}");
    }
    for region in SMALL {
        let quotas = quotas(&[("AWS::Region", region)]);
        assert_eq!(quotas, [2_000.0, 375.0, 125.0, 250.0], "{region}");
        assert_eq!(quotas[..3].iter().sum::<f64>(), 2_500.0, "{region}");
    }
}

#[test]
fn quotas_that_are_given_count_in_every_region() {
    let given = [("PushesPerSecond", "16000"), ("TotalFramesPerSecond", "3000"), ("TotalFramesBurst", "70")];
    for region in ["us-east-1", "mx-central-1"] {
        let [pushes, frames, _, burst] = quotas(&[&given[..], &[("AWS::Region", region)]].concat());
        assert_eq!([pushes, frames, burst], [16_000.0, 3_000.0, 70.0], "{region}");
    }
}

#[test]
fn the_mappings_run_what_the_notifier_is_told() {
    let stack = load_with(&[("FanOutConcurrency", "7"), ("NotifyConcurrency", "9")]).unwrap();
    let variables = &stack.functions["NotifierFunction"].environment;
    for (mapping, variable, expected) in
        [("FanOutMapping", "FAN_OUT_CONCURRENCY", 7), ("NotificationMapping", "NOTIFY_CONCURRENCY", 9)]
    {
        let tidings_local_stack::Source::Queue { maximum_concurrency, .. } = &stack.event_sources[mapping].source
        else {
            panic!("{mapping} reads no queue")
        };
        assert_eq!((*maximum_concurrency, variables[variable].as_str()), (Some(expected), &*expected.to_string()));
    }
}

#[test]
fn a_retained_table_is_another_one_than_the_table_that_goes_with_the_stack() {
    for (retain, expected, other) in
        [("false", "ConnectionsTable", "RetainedTable"), ("true", "RetainedTable", "ConnectionsTable")]
    {
        let stack = load_with(&[("RetainTable", retain)]).unwrap();
        assert!(stack.tables.contains_key(expected) && !stack.tables.contains_key(other), "{retain}");
        let table = &stack.tables[expected].name;
        for (name, function) in &stack.functions {
            assert_eq!(function.environment["TABLE_NAME"], *table, "{name} with RetainTable={retain}");
        }
    }
    let template = to_json(&std::fs::read_to_string(root().join("template.yaml")).unwrap()).unwrap();
    let policy = |table: &str| template["Resources"][table]["DeletionPolicy"].as_str().unwrap().to_owned();
    assert_eq!([policy("ConnectionsTable"), policy("RetainedTable")], ["Delete", "Retain"]);
}

#[test]
fn tokens_of_the_rest_api_need_an_audience() {
    let issuer = ("RestJwtIssuer", "https://issuer.example.com");
    let refusal = load_with(&[issuer]).unwrap_err().to_string();
    assert!(refusal.contains("RestJwtIssuer needs RestJwtAudience"), "{refusal}");
    load_with(&[issuer, ("RestJwtAudience", "rest")]).unwrap();
}

/// The scopes that a route asks for; any one of them is enough.
fn scopes(prefix: &str) -> Vec<(String, Vec<String>)> {
    let stack = load_with(&[
        ("RestJwtIssuer", "https://issuer.example.com"),
        ("RestJwtAudience", "rest"),
        ("RestScopePrefix", prefix),
    ]);
    let routes = stack.unwrap().http_apis.shift_remove("RestApi").unwrap().routes;
    let scopes = routes.into_iter().filter_map(|route| match route.authorization {
        Authorization::Jwt(jwt) => Some((route.key, jwt.scopes)),
        // For clients, whose tokens have no scopes: the tests of `rest` say which.
        Authorization::None => None,
        other => panic!("{}: {other:?}", route.key),
    });
    scopes.collect()
}

#[test]
fn with_a_prefix_each_operation_of_the_rest_api_has_its_scope() {
    for (key, scopes) in scopes("tidings/") {
        let expected = match key.as_str() {
            "$default" | "GET /openapi.json" => None,
            "POST /notifications" => Some("tidings/notify"),
            key if key.starts_with("GET ") => Some("tidings/read"),
            _ => Some("tidings/manage"),
        };
        assert_eq!(scopes, expected.into_iter().collect::<Vec<_>>(), "{key}");
    }
    assert!(scopes("").iter().all(|(_, scopes)| scopes.is_empty()));
}
