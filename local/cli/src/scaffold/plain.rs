//! The template as plain CloudFormation, for the CDK, Terraform and whatever else knows no transform.
//!
//! Two comments at the head of each file say which version wrote it and what it was like then, so that a newer version
//! replaces what nobody has changed.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::{FRONT, File, OPERATIONS, VERSION};

/// What `infra/plain.py` makes of the template; in the second one no deployment can let go of the table.
const PLAIN: &str = include_str!("../../scaffold/plain.yaml");
const RETAINED: &str = include_str!("../../scaffold/plain-retain.yaml");

/// How a file is written, as its first line says.
const WRITING: &str = "`tidings template --plain`.";
const RETAINING: &str = "`tidings template --plain --retain`.";

/// What stands before the hash of a file.
const HASH: &str = "# Replaced by a newer version as long as this is its SHA-256: ";

/// The plain template, and those of the alarms and of the distribution that it nests. With `retain` no deployment can let go of the table.
pub(crate) fn plain(retain: bool) -> Vec<File> {
    let (template, command) = if retain { (RETAINED, RETAINING) } else { (PLAIN, WRITING) };
    let files = [
        ("tidings/plain/template.yaml", template),
        ("tidings/plain/operations.yaml", OPERATIONS),
        ("tidings/plain/front.yaml", FRONT),
    ];
    files.map(|(path, body)| File { path: path.to_owned(), text: with_head(command, body) }).into()
}

/// Whether a text is what some version wrote.
pub(crate) fn is_as_written(text: &str) -> bool {
    let mut lines = text.splitn(3, '\n');
    let (_, hash, body) = (lines.next(), lines.next().and_then(|line| line.strip_prefix(HASH)), lines.next());
    matches!((hash, body), (Some(hash), Some(body)) if hash == hash_of(body))
}

/// Whether a text that some version wrote keeps the table.
pub(crate) fn is_retaining(text: &str) -> bool {
    text.lines().next().is_some_and(|head| head.ends_with(RETAINING))
}

fn with_head(command: &str, body: &str) -> String {
    format!("# Tidings {VERSION} as plain CloudFormation, by {command}\n{HASH}{}\n{body}", hash_of(body))
}

fn hash_of(body: &str) -> String {
    Sha256::digest(body).iter().fold(String::new(), |mut hash, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hash, "{byte:02x}");
        hash
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_template_has_no_transform_and_takes_everything_from_a_bucket() {
        let [template, operations, front] = &plain(false)[..] else { panic!("three files") };
        assert!(!template.text.contains("AWS::Serverless") && !template.text.contains("arn:aws:"));
        assert_eq!(template.text.matches("/bootstrap.zip\n").count(), 6);
        for (nested, file) in [("operations.yaml", operations), ("front.yaml", front)] {
            assert!(template.text.contains(&format!("/${{CodePrefix}}{nested}\n")) && file.path.ends_with(nested));
        }
    }

    #[test]
    fn a_table_that_is_retained_is_so_in_every_deployment() {
        let [free, fixed] = [false, true].map(|retain| plain(retain).remove(0).text);
        for (text, parameter, policies) in [(free, true, ["Delete", "Retain"].as_slice()), (fixed, false, &["Retain"])]
        {
            let tables = text.split("Type: AWS::DynamoDB::Table\n").skip(1);
            let policy =
                |table: &str| table.split("DeletionPolicy: ").nth(1).unwrap().lines().next().unwrap().to_owned();
            assert_eq!(tables.map(policy).collect::<Vec<_>>(), policies);
            assert_eq!(text.contains("RetainTable"), parameter);
            assert_eq!(text.contains("KeepsTable"), parameter);
        }
    }

    #[test]
    fn a_file_knows_whether_it_was_changed() {
        let all = [false, true].map(|retain| plain(retain).into_iter().map(move |file| (retain, file)));
        for (retain, file) in all.into_iter().flatten() {
            assert!(is_as_written(&file.text));
            assert_eq!(is_retaining(&file.text), retain);
            assert!(is_as_written(&file.text.replacen(VERSION, "0.0.1", 1)), "of whichever version");
            assert!(!is_as_written(&format!("{}\n", file.text)));
        }
        assert!(!is_as_written("") && !is_as_written(PLAIN));
    }
}
