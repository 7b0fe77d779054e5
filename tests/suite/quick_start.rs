//! What makes the first `cargo dev` of a fresh clone quick: what is not compiled for it, and how.

use std::collections::BTreeSet;

use tests::stack::root;
use tokio::process::Command;

/// What calls AWS in somebody's name, and takes a minute or two to compile; the SDK's own HTTP client, as there is ours; and
/// tables for domain names that are not ASCII, see `Cargo.lock`'s version of `idna_adapter`.
const LEFT_OUT: [&str; 10] = [
    "aws-config",
    "aws-sdk-apigatewayv2",
    "aws-sdk-cloudformation",
    "aws-sdk-lambda",
    "aws-sdk-secretsmanager",
    "aws-sdk-sqs",
    "aws-sdk-sso",
    "aws-smithy-http-client",
    "h2",
    "icu_normalizer",
];
/// The embedded DynamoDB's engine.
const ENGINE: &str = "dynoxide-rs";

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap()
}

/// The crates that a package's binary is made of.
async fn crates(arguments: &[&str]) -> BTreeSet<String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["tree", "--offline", "--package", "tidings-local", "--edges", "normal,build", "--prefix", "none"]);
    let output = command.args(["--format", "{p}"]).args(arguments).current_dir(root()).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_laptop_compiles_nothing_that_only_an_account_needs() {
    let (quick, whole) = tokio::join!(crates(&["--no-default-features"]), crates(&[]));
    assert!(quick.contains(ENGINE), "{quick:?}");
    for left_out in LEFT_OUT {
        assert!(!quick.contains(left_out), "{left_out} is compiled for `cargo dev`");
    }
    assert!(whole.len() >= quick.len() + 10, "{} and {}", whole.len(), quick.len());
}

#[test]
fn the_commands_of_a_laptop_are_built_so_and_nothing_is_optimised() {
    let aliases = read(".cargo/config.toml");
    for alias in ["dev", "tidings"] {
        let line = aliases.lines().find(|line| line.starts_with(&format!("{alias} ="))).unwrap();
        assert!(line.contains("--no-default-features"), "{line}");
    }
    let manifest = read("Cargo.toml");
    // The engine and the SQLite in it would take two minutes and forty seconds of one processor more.
    assert_eq!(manifest.matches("[profile.dev.package.").count(), 1, "a package has a profile of its own");
    let profile = manifest.split("[profile.dev.package.\"*\"]").nth(1).unwrap();
    let own = profile.split("\n[").next().unwrap();
    assert!(own.contains("debug = false") && !own.contains("opt-level"), "{own}");
}
