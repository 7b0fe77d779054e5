//! Filters of all shapes: each is refused, or has an answer.

use tidings_local_fuzz::run;

use super::*;

const FILTERS: [&[u8]; 5] = [
    b"userId eq 'a''b' and not (connectionId ne null or 'g' in groups)",
    b"length(groups) ge -12 or userId in ('a','b', null)",
    b"startswith(tolower(trim(userId)), 'x') eq contains(concat(userId,protocol), '\xc3\xa4')",
    b"substring(userId, 1, 2) eq substring('\xc3\xa4bc', indexof(userId, 'b')) eq true eq false",
    b"((((not true))))",
];

#[test]
fn fuzz_filters() {
    let groups = ["g", "\u{e4}"];
    run("a filter", &FILTERS, |input, rng| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        let user = rng.bool().then_some("b\u{e4}c");
        let subject = Subject { connection: "c=", user, protocol: "raw", groups: &groups };
        let opposite = format!("not ({text})");
        match Filter::parse(text) {
            // One that is as deep or long as may be has no opposite.
            Ok(filter) => assert!(
                Filter::parse(&opposite).map_or(true, |opposite| opposite.admits(&subject) != filter.admits(&subject))
            ),
            Err(error) => assert!(error.to_string().ends_with("(Parameter 'filter')"), "{error}"),
        }
    });
}
