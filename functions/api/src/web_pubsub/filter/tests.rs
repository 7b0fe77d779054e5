//! What filters say of connections, and which are none.

use super::*;

fn admits(filter: &str) -> bool {
    let groups = ["g1", "it's"];
    let subject = Subject { connection: "abc=", user: Some("User1"), protocol: "raw", groups: &groups };
    Filter::parse(filter).unwrap_or_else(|error| panic!("{error}")).admits(&subject)
}

fn refused(filter: &str) -> String {
    Filter::parse(filter).expect_err(filter).to_string()
}

#[test]
fn fields_are_compared_whatever_the_case_of_their_names() {
    for filter in [
        "userId eq 'User1'",
        "USERID ne 'user1'",
        "'abc=' eq connectionId",
        "protocol eq 'raw'",
        "userId ne null",
        "not (userId eq null)",
        "userId in ('a','User1')",
        "not (userId in ('a', null))",
        "'g1' in groups",
        "not ('g2' in groups)",
        "'it''s' in Groups",
        "length(groups) eq 2",
        "true",
        "false eq false",
        "(userId eq null) eq false",
    ] {
        assert!(admits(filter), "{filter}");
    }
    for filter in
        ["userId eq 'user1'", "userId eq 1", "'G1' in groups", "userId in (null)", "not true", "userId eq null"]
    {
        assert!(!admits(filter), "{filter}");
    }
}

#[test]
fn not_binds_more_than_comparisons_these_more_than_and_and_that_more_than_or() {
    assert!(admits("false and false or true"));
    assert!(admits("true or false and false"));
    assert!(!admits("(true or false) and false"));
    assert!(admits("not false and true"));
    assert!(admits("not false eq true"));
    assert!(!admits("not (false eq false)"));
    assert!(refused("not userId eq 'a'").contains("a condition is needed"));
}

#[test]
fn functions_make_of_texts_what_they_say() {
    for filter in [
        "tolower(userId) eq 'user1'",
        "toupper(userId) eq 'USER1'",
        "trim('  a ') eq 'a'",
        "substring(userId, 1) eq 'ser1'",
        "substring(userId,1,2) eq 'se'",
        "substring(userId, 9) eq ''",
        "substring(userId, -2, 3) eq 'U'",
        "startswith(userId, 'Us')",
        "endswith(userId,'1')",
        "contains(userId, 'er')",
        "not contains(userId, 'x')",
        "concat(userId, 'x') eq 'User1x'",
        "indexof(userId, 'r') eq 3",
        "indexof(userId, 'x') eq -1",
        "length(userId) gt 4 and length(userId) le 5",
        "length(concat(userId, connectionId)) ge 9",
        "length('größer') lt 7 and length('größer') ne 7",
    ] {
        assert!(admits(filter), "{filter}");
    }
}

#[test]
fn of_somebody_without_a_name_nothing_is_said() {
    let nobody = Subject { connection: "c", user: None, protocol: "raw", groups: &[] };
    let admits = |filter: &str| Filter::parse(filter).unwrap().admits(&nobody);
    for filter in [
        "userId eq null",
        "not startswith(userId, 'a')",
        "length(userId) eq null",
        "tolower(userId) eq null",
        "indexof(userId, 'a') eq -1",
        "concat(userId, 'a') eq 'a'",
        "substring(userId, 1) eq null",
        "length(groups) eq 0",
        "userId in (null, 'a')",
    ] {
        assert!(admits(filter), "{filter}");
    }
    for filter in ["length(userId) gt 0", "length(userId) le 0", "contains(userId, '')", "userId in groups"] {
        assert!(!admits(filter), "{filter}");
    }
}

#[test]
fn only_a_filter_that_asks_for_groups_has_them_read() {
    let reads = |filter: &str| Filter::parse(filter).unwrap().reads_groups();
    assert!(!reads("userId eq 'groups' and not (connectionId in ('a'))"));
    for filter in ["'a' in groups", "userId eq 'a' or not (length(groups) gt 1)", "(length(groups) eq 0) eq true"] {
        assert!(reads(filter), "{filter}");
    }
}

#[test]
fn a_fault_in_the_syntax_is_told_as_azure_does() {
    let text =
        "Invalid syntax for 'invalid filter': Syntax error at position 14 in 'invalid filter'. (Parameter 'filter')";
    assert_eq!(refused("invalid filter"), text);
    for (filter, at) in [("(true", 5), ("true)", 5), ("userId eq", 9), ("a, b", 2), ("userId eq 'ä' x", 15), ("%", 1)]
    {
        let error = refused(filter);
        assert!(error.contains(&format!("Syntax error at position {at} in")), "{filter}: {error}");
    }
}

#[test]
fn what_makes_no_sense_is_no_filter() {
    for (filter, start) in [
        ("userId eq 'a", "a text does not end"),
        ("user eq 'a'", "there is no user; use userId"),
        ("userId eq TRUE", "there is no TRUE"),
        ("userId", "a condition is needed"),
        ("1 and true", "a condition is needed"),
        ("null", "a condition is needed"),
        ("userId gt 'a'", "a whole number is needed"),
        ("true gt false", "a whole number is needed"),
        ("groups eq null", "a text or a whole number is needed"),
        ("userId in connectionId", "`in` needs groups"),
        ("1 in groups", "`in groups` needs a text"),
        ("tolower(groups) eq 'a'", "a text is needed"),
        ("startswith(userId)", "there is no function startswith"),
        ("startswith(userId, 1)", "a text is needed"),
        ("substring(userId, 'a') eq 'a'", "a whole number is needed"),
        ("substring(userId, 1, 2, 3) eq 'a'", "there is no function substring"),
        ("TOLOWER(userId) eq 'a'", "there is no function TOLOWER"),
        ("matches(userId, 'a')", "there is no function matches"),
        ("length(userId) eq 99999999999999999999", "the number 99999999999999999999"),
        ("length(userId) eq -", "the number -"),
    ] {
        let error = refused(filter);
        assert!(error.contains(&format!("': {start}")), "{filter}: {error}");
    }
    for filter in
        ["", " ", "()", "userId in ()", "length() eq 1", "userId eq \"a\"", "a/b eq 1", "userId eq 1.5", "a\nb"]
    {
        refused(filter);
    }
}

#[test]
fn filters_are_bounded_in_depth_and_length_but_not_in_clauses() {
    let nested = |depth: usize| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
    assert!(admits(&nested(100)));
    for deep in [nested(101), "not ".repeat(101) + "true", "true eq ".repeat(102) + "true"] {
        assert!(refused(&deep).contains("nested deeper than 100"));
    }
    assert!(refused(&format!("userId eq '{}'", "x".repeat(16 * 1_024))).contains("more than 16384 bytes"));
    let many = vec!["userId eq 'User1'"; 500].join(" or ");
    assert!(admits(&many));
}
