//! `wildcard`: `*` stands for any text, `\*` for an asterisk and `\\` for a backslash.

/// A pattern's parts: what stands between its asterisks. Nothing where it is no pattern: asterisks one after the other, or
/// a backslash before anything else.
fn parts(pattern: &str) -> Option<Vec<String>> {
    let (mut parts, mut characters, mut after_star) = (vec![String::new()], pattern.chars(), false);
    while let Some(character) = characters.next() {
        let literal = match character {
            '*' if after_star => return None,
            '*' => {
                parts.push(String::new());
                after_star = true;
                continue;
            }
            '\\' => characters.next().filter(|escaped| matches!(escaped, '*' | '\\'))?,
            other => other,
        };
        after_star = false;
        parts.last_mut()?.push(literal);
    }
    Some(parts)
}

pub(super) fn is_valid(pattern: &str) -> bool {
    parts(pattern).is_some()
}

/// The first part begins the text, the last one ends it, and those between follow each other: each as early as it can,
/// which leaves the most for the others.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let Some(parts) = parts(pattern) else { return false };
    let [first, between @ .., last] = parts.as_slice() else { return parts.first().is_some_and(|only| only == text) };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for part in between {
        let Some(at) = rest.find(part.as_str()) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asterisk_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "a", true),
            ("*.png", "dir/a.png", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("*a*", "xay", true),
            (r"a\*b", "a*b", true),
            (r"a\*b", "axb", false),
            (r"a\\*", r"a\x", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn asterisks_in_a_row_and_backslashes_before_other_characters_are_refused() {
        for (pattern, expected) in [("a*b", true), ("a**b", false), (r"a\b", false), (r"a\", false), (r"\**", true)] {
            assert_eq!(is_valid(pattern), expected, "{pattern}");
        }
    }
}
