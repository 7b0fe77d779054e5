//! What holds on gateways that others wrote, as `beside.py` found it: the list of what fails there, and its table in the guide.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Deserialize;
use tests::stack::root;

use super::facts::{Check, Fact, Grade, all};

/// Between these lines of the guide is what is written here.
const MARKS: [&str; 2] = ["<!-- written by tests/conformance/beside.py -->\n", "<!-- until here -->\n"];

/// `peers/expected.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// When that was.
    measured: String,
    peers: BTreeMap<String, Peer>,
    /// What sources of others say otherwise.
    contradicted: Vec<Contradiction>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Peer {
    version: String,
    fails: Vec<String>,
    /// What holds there by chance, so that one run says nothing.
    sometimes: Vec<String>,
    /// What has a case, but not there.
    unchecked: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contradiction {
    fact: String,
    /// Whose source, and where in it.
    source: String,
    says: String,
}

fn peers(file: &str) -> PathBuf {
    root().join("tests/conformance/peers").join(file)
}

fn expected() -> Expected {
    serde_json::from_str(&std::fs::read_to_string(peers("expected.json")).unwrap()).unwrap()
}

/// What became of a fact with a peer, in the order of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Holds,
    Fails,
    Sometimes,
    Unchecked,
}

impl Outcome {
    fn of(fact: &Fact, peer: Option<&Peer>) -> Self {
        let listed = |list: &[String]| list.iter().any(|id| id == fact.id);
        match (fact.check, peer) {
            (Check::None(_), _) => Self::Unchecked,
            (_, None) => Self::Holds,
            (_, Some(peer)) if listed(&peer.unchecked) => Self::Unchecked,
            (_, Some(peer)) if listed(&peer.fails) => Self::Fails,
            (_, Some(peer)) if listed(&peer.sometimes) => Self::Sometimes,
            (_, Some(_)) => Self::Holds,
        }
    }

    fn cell(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails => "**fails**",
            Self::Sometimes => "sometimes",
            Self::Unchecked => "–",
        }
    }
}

/// The part of the guide.
fn page(expected: &Expected) -> String {
    let columns: Vec<Option<&Peer>> = std::iter::once(None).chain(expected.peers.values().map(Some)).collect();
    let names: Vec<String> = std::iter::once("Tidings".to_owned())
        .chain(expected.peers.iter().map(|(name, peer)| format!("{name} {}", peer.version)))
        .collect();
    let head = |first: &str| {
        let line = format!("| {first} | {} |\n", names.join(" | "));
        format!("{line}{}\n", "| --- ".repeat(line.matches('|').count() - 1) + "|")
    };
    let mut text =
        format!("Asked on {}. How many of the facts that are checked hold, by their evidence:\n\n", expected.measured);
    text += &head("evidence");
    for grade in all().map(|fact| fact.grade).collect::<BTreeSet<_>>() {
        let counts = columns.iter().map(|peer| count(grade, *peer)).collect::<Vec<_>>();
        writeln!(text, "| {grade} | {} |", counts.join(" | ")).unwrap();
    }
    text += "\nSources of the others say these otherwise. Where a fact has evidence, it stands; where it is UNSURE, ask AWS:\n\n";
    text += "| fact | evidence | what is taken for true here | whose source | what it says |\n| --- | --- | --- | --- | --- |\n";
    for Contradiction { fact, source, says } in &expected.contradicted {
        let fact = all().find(|one| one.id == fact).expect("it is a fact");
        writeln!(text, "| {} | {} | {} | {source} | {says} |", fact.id, fact.grade, fact.text).unwrap();
    }
    text += "\nEach fact; sometimes is by chance, – is not checked:\n\n";
    text += &head("fact | evidence | what");
    for fact in all() {
        let cells: Vec<_> = columns.iter().map(|peer| Outcome::of(fact, *peer).cell()).collect();
        writeln!(text, "| {} | {} | {} | {} |", fact.id, fact.grade, fact.text, cells.join(" | ")).unwrap();
    }
    text
}

/// Of so many facts of a grade so many hold.
fn count(grade: Grade, peer: Option<&Peer>) -> String {
    let outcomes: Vec<_> = all().filter(|fact| fact.grade == grade).map(|fact| Outcome::of(fact, peer)).collect();
    let those = |outcome| outcomes.iter().filter(|one| **one == outcome).count();
    let holds = those(Outcome::Holds);
    format!("{holds} of {}", outcomes.len() - those(Outcome::Unchecked))
}

#[test]
fn the_guide_shows_what_is_expected_of_others() {
    let (path, page) = (root().join("docs/gateway.md"), page(&expected()));
    let guide = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = guide.split_once(MARKS[0]).unwrap();
    let (shown, after) = rest.split_once(MARKS[1]).unwrap();
    if std::env::var_os("TIDINGS_REWRITE").is_some() {
        let [begin, end] = MARKS;
        std::fs::write(path, format!("{before}{begin}\n{page}\n{end}{after}")).unwrap();
    } else {
        assert_eq!(shown.trim(), page.trim(), "TIDINGS_REWRITE=1 writes it");
    }
}

#[test]
fn the_list_of_what_fails_elsewhere_names_facts_that_have_a_case() {
    let expected = expected();
    let checked: BTreeSet<_> =
        all().filter(|fact| !matches!(fact.check, Check::None(_))).map(|fact| fact.id.to_owned()).collect();
    for (name, peer) in &expected.peers {
        let listed: Vec<_> = peer.fails.iter().chain(&peer.sometimes).chain(&peer.unchecked).collect();
        let distinct: BTreeSet<_> = listed.iter().map(|id| (*id).clone()).collect();
        assert_eq!(distinct.len(), listed.len(), "{name}: a fact is listed twice");
        assert!(distinct.is_subset(&checked), "{name}: {:?}", distinct.difference(&checked));
    }
    for one in &expected.contradicted {
        assert!(all().any(|fact| fact.id == one.fact), "{} is no fact", one.fact);
    }
}

#[test]
fn what_is_expected_of_others_is_of_the_versions_that_are_installed() {
    let expected = expected();
    let version = |name: &str| Some(expected.peers[name].version.clone());
    // Here, where CI deploys to it, and in the bench.
    for file in ["tests/conformance/peers/requirements.txt", ".ci/ministack.txt", "tests/bench/peers/requirements.txt"]
    {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let found = text.lines().find_map(|line| line.strip_prefix("ministack==")).map(str::to_owned);
        assert_eq!(found, version("ministack"), "{file}");
    }
    for file in ["tests/conformance/peers/package.json", "tests/bench/peers/package.json"] {
        let package: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(root().join(file)).unwrap()).unwrap();
        let found = package["dependencies"]["serverless-offline"].as_str().map(str::to_owned);
        assert_eq!(found, version("serverless-offline"), "{file}");
    }
}
