//! The list of facts: each with its evidence, and a case that checks it or the reason why there is none.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use super::bench::{Bench, Place};
use super::{authorizer, closing, connect, disconnect, events, management, messages};

/// How good the evidence for a fact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grade {
    /// AWS's documentation.
    Doc,
    /// An event, a frame or a log of AWS's that somebody captured and published.
    Cap,
    /// AWS's service model or source.
    Model,
    /// A report of a user or a maintainer.
    User,
    /// What another project's code takes for granted.
    Code,
    /// Our deduction.
    Infer,
    /// Conflicting or missing evidence: the behaviour is chosen, and `docs/gateway.md` says so.
    Unsure,
}

impl fmt::Display for Grade {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Doc => "DOC",
            Self::Cap => "CAP",
            Self::Model => "MODEL",
            Self::User => "USER",
            Self::Code => "CODE",
            Self::Infer => "INFER",
            Self::Unsure => "UNSURE",
        })
    }
}

/// A case: it panics if the fact does not hold.
pub(crate) type Case = fn(Arc<Bench>) -> Pin<Box<dyn Future<Output = ()>>>;

/// How a fact is checked.
#[derive(Clone, Copy)]
pub(crate) enum Check {
    /// Here, beside here and on AWS.
    Anywhere(Case),
    /// Not on AWS; why.
    Here(Case, &'static str),
    /// Only where connections end within seconds.
    Hasty(Case),
    /// By no case; why not.
    None(&'static str),
}

/// One fact.
#[derive(Clone, Copy)]
pub(crate) struct Fact {
    /// Section and number.
    pub(crate) id: &'static str,
    pub(crate) grade: Grade,
    /// Where the evidence is: pages of the API Gateway Developer Guide (DG), captures, issues.
    pub(crate) source: &'static str,
    /// The fact, in one sentence.
    pub(crate) text: &'static str,
    pub(crate) check: Check,
}

/// A row of the list.
pub(crate) const fn fact(
    id: &'static str,
    grade: Grade,
    source: &'static str,
    text: &'static str,
    check: Check,
) -> Fact {
    Fact { id, grade, source, text, check }
}

/// A case that runs anywhere.
macro_rules! anywhere {
    ($case:path) => {
        crate::conformance::facts::Check::Anywhere(|bench| Box::pin($case(bench)))
    };
}

/// A case that does not run on AWS, and why.
macro_rules! here {
    ($case:path, $reason:expr) => {
        crate::conformance::facts::Check::Here(|bench| Box::pin($case(bench)), $reason)
    };
}

/// A case that needs short limits.
macro_rules! hasty {
    ($case:path) => {
        crate::conformance::facts::Check::Hasty(|bench| Box::pin($case(bench)))
    };
}

pub(crate) use {anywhere, hasty, here};

/// Why a case that needs short limits does not run where they are AWS's.
const LONG: &str = "it takes ten minutes or two hours";

/// All facts, in their order.
pub(crate) fn all() -> impl Iterator<Item = &'static Fact> {
    let sections = [
        events::FACTS,
        authorizer::FACTS,
        connect::FACTS,
        messages::FACTS,
        closing::FACTS,
        management::FACTS,
        disconnect::FACTS,
    ];
    sections.into_iter().flatten()
}

impl Check {
    /// The case for this bench, or why there is none.
    pub(crate) fn case(self, bench: &Bench) -> Result<Case, &'static str> {
        match self {
            Self::Anywhere(case) => Ok(case),
            Self::Here(_, reason) if bench.place == Place::Aws => Err(reason),
            Self::Here(case, _) => Ok(case),
            Self::Hasty(case) => bench.hasty.as_ref().map(|_| case).ok_or(LONG),
            Self::None(reason) => Err(reason),
        }
    }
}

impl Fact {
    fn place(&self) -> (u32, u32) {
        let (section, number) = self.id.split_once('.').expect("an id is `section.number`");
        (section.parse().unwrap(), number.parse().unwrap())
    }
}

#[test]
fn the_list_of_facts_is_complete() {
    let mut numbers: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for fact in all() {
        let (section, number) = fact.place();
        numbers.entry(section).or_default().push(number);
        assert!(fact.text.ends_with('.') && !fact.source.is_empty(), "{}: a sentence and its source", fact.id);
        if let Check::Here(_, reason) | Check::None(reason) = fact.check {
            assert!(reason.len() > 15, "{}: the reason says too little", fact.id);
        }
    }
    // Sections 1 to 7, and no number left out or given twice: a fact that goes must leave a reason behind.
    assert_eq!(numbers.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
    for (section, numbers) in numbers {
        let expected: Vec<u32> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, expected, "section {section}");
    }
}

#[test]
fn every_unsure_fact_is_explained_in_the_guide() {
    let guide = std::fs::read_to_string(tests::stack::root().join("docs/gateway.md")).unwrap();
    let guide = guide.split("\n## ").find(|part| part.starts_with("What is not known about AWS\n")).unwrap();
    for fact in all().filter(|fact| fact.grade == Grade::Unsure) {
        assert!(guide.contains(&format!("| {} |", fact.id)), "docs/gateway.md has no row for {}", fact.id);
    }
    let ids: Vec<_> = all().filter(|fact| fact.grade == Grade::Unsure).map(|fact| fact.id).collect();
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |"));
    for (id, _) in rows
        .filter(|(id, _)| id.split_once('.').is_some_and(|(a, b)| a.parse::<u32>().is_ok() && b.parse::<u32>().is_ok()))
    {
        assert!(ids.contains(&id), "docs/gateway.md explains {id}, which is no UNSURE fact");
    }
}
