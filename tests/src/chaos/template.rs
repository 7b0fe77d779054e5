//! The stack that all of it happens to: the project's own template, with a notifier of little patience, so that those who
//! follow one that died need not wait for minutes.

use std::collections::BTreeMap;
use std::path::Path;

use super::Plan;
use super::topic;
use crate::stack::{Stack, root};

/// What is other than in the template: where the files are; the notifier's timeout, and how long a message is hidden, which has
/// to be longer than a lease of somebody who died, 5 s beyond the timeout.
const CHANGES: [(&str, &str); 2] =
    [("      Timeout: 30\n", "      Timeout: 4\n"), ("VisibilityTimeout: 180", "VisibilityTimeout: 10")];

/// Posts a second and workers, where audiences are to be split: more than the messages need, and half of an audience of 20
/// is what a worker can do in the two seconds that it has.
const SMALL_SEGMENTS: [(&str, &str); 2] = [("PushesPerSecond", "480"), ("FanOutConcurrency", "40")];

pub(super) async fn start(plan: &Plan, folder: &Path) -> Stack {
    let template = folder.join("template.yaml");
    std::fs::write(&template, impatient()).unwrap();
    let ordered = if plan.unordered { "" } else { r#","ordered":true"# };
    let history = format!(r#"[{{"to":{{"topic":"**"}},"seconds":600{ordered}}}]"#);
    let seed = plan.seed;
    let mut parameters = BTreeMap::from([("History".to_owned(), history)]);
    if plan.unordered {
        parameters.extend(SMALL_SEGMENTS.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    Stack::start_with(|options| {
        options.template = template;
        options.parameters = parameters;
        options.shuffle = Some(seed);
    })
    .await
}

/// The project's template with these changes.
pub(crate) fn impatient() -> String {
    changed(&CHANGES)
}

/// The project's template with other words in what is about the notifier.
pub(crate) fn changed(changes: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(root().join("template.yaml")).unwrap();
    let at = text.find("\n  NotifierFunction:").unwrap();
    let mut rest = text.split_off(at);
    for (old, new) in changes {
        assert!(rest.contains(old), "the template has no {old:?}");
        rest = rest.replace(old, new);
    }
    text.push_str(&rest);
    for name in ["CodeUri: ", "TemplateURL: "] {
        text = text.replace(name, &format!("{name}{}/", root().display()));
    }
    text
}

/// Where the topics' logs end.
pub(super) async fn ends(stack: &Stack, plan: &Plan) -> BTreeMap<String, u64> {
    let mut ends: BTreeMap<_, _> = (0..plan.topics).map(|number| (topic(number), 0)).collect();
    for row in stack.rows().await {
        let Some(log) = row["pk"].as_s().unwrap().strip_prefix("log#topic#") else { continue };
        let name = log.rsplit_once('#').unwrap().0;
        let end = ends.get_mut(name).unwrap();
        *end = row["sk"].as_s().unwrap().parse::<u64>().unwrap().max(*end);
    }
    ends
}

/// Parts that audiences were split into, and that were taken up.
pub(super) async fn segments(stack: &Stack) -> usize {
    let rows = stack.rows().await;
    let is_part = |row: &&crate::engine::Row| {
        row["pk"].as_s().unwrap().starts_with("work#") && row["sk"].as_s().unwrap().contains('.')
    };
    rows.iter().filter(is_part).count()
}
