//! Alarms and dashboard against what they watch: names that nobody writes would be silent for ever.

use std::collections::BTreeSet;

use serde_json::Value;
use tests::stack::root;
use tidings::metrics::{DIMENSION, Metric, NAMESPACE};
use tidings_local_template as template;

/// What AWS's own services publish under these dimensions: the pages "metrics and dimensions" of each one's guide.
const OF_AWS: [(&str, &[&str], &[&str]); 4] = [
    (
        "AWS/ApiGateway",
        &["ApiId", "Stage"],
        &["ConnectCount", "MessageCount", "IntegrationError", "ClientError", "ExecutionError", "IntegrationLatency"],
    ),
    (
        "AWS/DynamoDB",
        &["TableName"],
        &["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits", "ReadThrottleEvents", "WriteThrottleEvents"],
    ),
    ("AWS/Lambda", &["FunctionName"], &["ConcurrentExecutions", "Duration", "Errors", "Invocations", "Throttles"]),
    (
        "AWS/SQS",
        &["QueueName"],
        &[
            "ApproximateAgeOfOldestMessage",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesVisible",
        ],
    ),
];

/// A metric that is looked at.
#[derive(Debug)]
struct Watched {
    namespace: String,
    name: String,
    dimensions: Vec<String>,
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn operations() -> Value {
    template::to_json(&text("infra/operations.yaml")).unwrap()
}

fn resources<'a>(template: &'a Value, kind: &str) -> Vec<(&'a String, &'a Value)> {
    let resources = template["Resources"].as_object().unwrap().iter();
    let found: Vec<_> = resources.filter(|(_, resource)| resource["Type"] == kind).collect();
    assert!(!found.is_empty(), "there is no {kind}");
    found
}

fn alarms(operations: &Value) -> Vec<(&String, &Value)> {
    let alarms = resources(operations, "AWS::CloudWatch::Alarm");
    alarms.into_iter().map(|(name, alarm)| (name, &alarm["Properties"])).collect()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// The metrics of an alarm, whether it has one or an expression of several.
fn of_alarm(alarm: &Value) -> Vec<Watched> {
    let watched = |metric: &Value| Watched {
        namespace: string(&metric["Namespace"]),
        name: string(&metric["MetricName"]),
        dimensions: metric["Dimensions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|dimension| string(&dimension["Name"]))
            .collect(),
    };
    match alarm["Metrics"].as_array() {
        None => vec![watched(alarm)],
        Some(metrics) => {
            let metrics = metrics.iter().filter(|metric| metric.get("Expression").is_none());
            metrics.map(|metric| watched(&metric["MetricStat"]["Metric"])).collect()
        }
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&text("infra/dashboard.json")).unwrap()
}

/// The metrics of a dashboard: rows of namespace, name, dimensions with their values, and settings.
fn of_dashboard(dashboard: &Value) -> Vec<Watched> {
    let rows = dashboard["widgets"].as_array().unwrap().iter();
    let rows = rows.filter_map(|widget| widget["properties"]["metrics"].as_array()).flatten();
    let rows = rows.map(|row| row.as_array().unwrap()).filter(|row| row[0].is_string());
    rows.map(|row| {
        let names: Vec<_> = row.iter().filter(|part| part.is_string()).map(string).collect();
        let dimensions = names[2..].chunks(2).map(|pair| pair[0].clone()).collect();
        Watched { namespace: names[0].clone(), name: names[1].clone(), dimensions }
    })
    .collect()
}

#[test]
fn alarms_and_dashboard_name_only_metrics_that_somebody_writes() {
    let operations = operations();
    let of_alarms = alarms(&operations).into_iter().flat_map(|(_, alarm)| of_alarm(alarm));
    let watched: Vec<_> = of_alarms.chain(of_dashboard(&dashboard())).collect();
    assert!(watched.len() > 80, "only {} metrics were found", watched.len());
    for metric in watched {
        if metric.namespace == NAMESPACE {
            assert!(Metric::ALL.iter().any(|known| known.name() == metric.name), "{metric:?}");
            assert_eq!(metric.dimensions, [DIMENSION], "{metric:?}");
        } else {
            let known = OF_AWS.iter().find(|(namespace, _, _)| *namespace == metric.namespace);
            let (_, dimensions, names) = known.unwrap_or_else(|| panic!("{metric:?}"));
            assert_eq!(metric.dimensions, *dimensions, "{metric:?}");
            assert!(names.contains(&metric.name.as_str()), "{metric:?}");
        }
    }
}

#[test]
fn every_metric_is_on_the_dashboard_and_in_the_guide() {
    let shown: BTreeSet<_> = of_dashboard(&dashboard()).into_iter().map(|metric| metric.name).collect();
    let guide = text("docs/operations.md");
    for metric in Metric::ALL {
        assert!(shown.contains(metric.name()), "infra/dashboard.json does not show {metric:?}");
        let row = format!("| `{}` | {} | {} |", metric.name(), metric.unit().name(), metric.function());
        assert!(guide.contains(&row), "docs/operations.md has no row that begins with {row}");
    }
}

#[test]
fn the_dashboard_of_the_template_is_the_file() {
    let operations = operations();
    let [(_, resource)] = resources(&operations, "AWS::CloudWatch::Dashboard")[..] else { panic!("one dashboard") };
    let body = string(&resource["Properties"]["DashboardBody"]["Fn::Sub"]);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body, dashboard(), "run `python infra/embed.py`");
}

#[test]
fn the_dashboard_refers_only_to_what_its_template_has_and_its_widgets_do_not_overlap() {
    let operations = operations();
    let file = text("infra/dashboard.json");
    for reference in file.split("${").skip(1).map(|rest| rest.split('}').next().unwrap()) {
        let name = reference.split('.').next().unwrap();
        let is_known = name.starts_with("AWS::")
            || operations["Parameters"].get(name).is_some()
            || operations["Resources"].get(name).is_some_and(|resource| resource.get("Condition").is_none());
        assert!(is_known, "${{{reference}}}");
    }
    let mut taken = BTreeSet::new();
    for widget in dashboard()["widgets"].as_array().unwrap() {
        let place = |name: &str| widget[name].as_u64().unwrap();
        assert!(place("x") + place("width") <= 24, "{widget}");
        for x in place("x")..place("x") + place("width") {
            for y in place("y")..place("y") + place("height") {
                assert!(taken.insert((x, y)), "{widget}");
            }
        }
    }
}

#[test]
fn every_alarm_says_what_to_do_where_the_guide_says_more_and_what_missing_data_means() {
    let operations = operations();
    let guide = text("docs/operations.md");
    let headings = guide.lines().filter_map(|line| line.strip_prefix('#'));
    let anchors: BTreeSet<_> = headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect();
    for (name, alarm) in alarms(&operations) {
        let description = string(&alarm["AlarmDescription"]);
        let (_, section) = description.split_once(" See docs/operations.md#").unwrap_or_else(|| panic!("{name}"));
        assert!(anchors.contains(section), "{name}: docs/operations.md has no section {section}");
        assert!(description.len() > 60 && description.len() <= 1_024, "{name}");
        assert_eq!(alarm["TreatMissingData"], "notBreaching", "{name}");
        assert!(alarm.get("AlarmActions").is_some() && alarm.get("OKActions").is_some(), "{name}");
        let suffix = string(&alarm["AlarmName"]["Fn::Sub"]).replace("${Stack}-", "");
        assert!(guide.contains(&format!("`{suffix}`")), "docs/operations.md does not name the alarm {suffix}");
    }
}

/// As GitHub makes one of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_function_has_its_alarms_and_every_parameter_of_theirs_is_given() {
    let (main, operations) = (template::to_json(&text("template.yaml")).unwrap(), operations());
    let given = &main["Resources"]["OperationsStack"]["Properties"]["Parameters"];
    let given = given.as_object().unwrap();
    for (name, parameter) in operations["Parameters"].as_object().unwrap() {
        assert!(given.contains_key(name) || parameter.get("Default").is_some(), "nobody gives {name}");
    }
    for name in given.keys() {
        assert!(operations["Parameters"].get(name).is_some(), "there is no parameter {name}");
    }
    for (function, _) in resources(&main, "AWS::Serverless::Function") {
        let parameter = given.iter().find(|(_, value)| value["Ref"] == **function).map(|(name, _)| name);
        let parameter = parameter.unwrap_or_else(|| panic!("{function} is not given to infra/operations.yaml"));
        for metric in ["Errors", "Throttles"] {
            let watches = |alarm: &Value| {
                alarm["MetricName"] == metric && alarm["Dimensions"][0]["Value"]["Ref"] == parameter.as_str()
            };
            assert!(alarms(&operations).iter().any(|(_, alarm)| watches(alarm)), "no alarm for {metric} of {function}");
        }
    }
}
