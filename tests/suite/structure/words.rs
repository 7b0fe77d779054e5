//! Words that had a private meaning here, and what the field says instead.

use regex_lite::Regex;
use tests::stack::root;

use super::{code, files};

/// The word, as a part of a name in code, and the field's.
const PRIVATE: [(&str, &str); 8] = [
    ("pace", "rate limit"),
    ("tally", "recorder"),
    ("carrier", "defaults"),
    ("shift", "invocation"),
    ("bury", "dead-letter"),
    ("buried", "dead-lettered"),
    ("slot", "hash prefix"),
    ("slots", "hash prefixes"),
];
/// Names of a library's.
const OTHERS: [&str; 1] = ["shift_remove"];
/// Names of types only: as words they are everybody's.
const TYPES: [(&str, &str); 2] = [("Look", "FirstPage"), ("Turn", "reservation")];
/// What tells of the past.
const HISTORY: [&str; 2] = ["docs/decisions", "CHANGELOG.md"];

/// `SlotOf` and `slot_of` as `slot` and `of`.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() {
            parts.push(String::new());
        }
        if let Some(last) = parts.last_mut() {
            last.extend(letter.to_lowercase().filter(|letter| *letter != '_'));
        }
    }
    parts
}

fn instead(name: &str) -> Option<&'static str> {
    if OTHERS.contains(&name) {
        return None;
    }
    let parts = parts(name);
    let private = PRIVATE.iter().find(|(word, _)| parts.iter().any(|part| part == word));
    private.or_else(|| TYPES.iter().find(|(word, _)| *word == name)).map(|(_, instead)| *instead)
}

#[test]
fn names_in_the_code_are_the_words_of_the_field() {
    let root = root();
    let name = Regex::new(r"[A-Za-z_][A-Za-z0-9_]*").unwrap();
    let mut found = Vec::new();
    for path in files(&root, &["rs"]) {
        let text = code(&std::fs::read_to_string(&path).unwrap());
        for (number, line) in text.lines().enumerate() {
            for one in name.find_iter(line) {
                let path = path.strip_prefix(&root).unwrap().display();
                found.extend(
                    instead(one.as_str()).map(|instead| format!("{path}:{}: {} → {instead}", number + 1, one.as_str())),
                );
            }
        }
    }
    assert_eq!(found, [""; 0]);
}

#[test]
fn templates_and_pages_say_the_words_of_the_field() {
    let root = root();
    let words = Regex::new(r"\b(pace|tally|bury|buried|slot|slots)\b").unwrap();
    let mut found = Vec::new();
    for path in files(&root, &["md", "yaml", "json", "py", "js", "html", "in"]) {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        if HISTORY.iter().any(|history| name.starts_with(history)) {
            continue;
        }
        for (number, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            found.extend(words.find(line).map(|word| format!("{name}:{}: {}", number + 1, word.as_str())));
        }
    }
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_private_word_is_found_as_a_part_of_a_name() {
    assert_eq!(parts("slot_ofShift"), ["slot", "of", "shift"]);
    assert_eq!(
        (instead("SlotOf"), instead("shift_remove"), instead("Look")),
        (Some("hash prefix"), None, Some("FirstPage"))
    );
    assert_eq!(instead("space"), None);
}
