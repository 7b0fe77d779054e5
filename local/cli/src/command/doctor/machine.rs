//! The tools of this machine.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use aws_credential_types::provider::ProvideCredentials;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

use super::super::account::Account;
use super::Finding;
use tidings_local_template::default_of;

/// How long a tool may take to say its version; `sam` takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// The oldest cargo-lambda that the guide's commands work with.
const CARGO_LAMBDA: [u32; 2] = [1, 9];
/// The oldest SAM that looks for a function's program where Cargo puts those of a workspace.
const SAM: [u32; 2] = [1, 165];

const RUSTUP: &str = "install Rust from https://rustup.rs, or `rustup update`";

pub(super) async fn look(account: Account<'_>, template: &Path) -> Vec<Finding> {
    let target = match default_of(template, "Architecture").as_deref() {
        Some("x86_64") => "x86_64-unknown-linux-gnu",
        _ => "aarch64-unknown-linux-gnu",
    };
    let (cargo, library, lambda, zig, sam, aws) =
        tokio::join!(cargo(), standard_library(target), cargo_lambda(), zig(), sam(), aws());
    let ((credentials, region), docker, java) = tokio::join!(identity(account), docker(), java());
    let (gateway, dynamodb) = (port(3030, "--port 0").await, port(8000, "--dynamodb-port 0").await);
    vec![cargo, gateway, dynamodb, library, lambda, zig, sam, credentials, region, aws, docker, java]
}

async fn cargo() -> Finding {
    let needed = numbers(env!("CARGO_PKG_RUST_VERSION"));
    match version("cargo", &["--version"]).await {
        None => Finding::wrong("cargo", "not found", RUSTUP),
        Some(found) if numbers(&found) < needed => {
            let says = format!("{found} is too old, {} is needed", env!("CARGO_PKG_RUST_VERSION"));
            Finding::wrong("cargo", says, RUSTUP)
        }
        Some(found) => Finding::ok("cargo", found),
    }
}

/// The standard library of the processor that functions run on.
async fn standard_library(target: &str) -> Finding {
    let check = format!("standard library of {target}");
    let folder = run("rustc", &["--print", "target-libdir", "--target", target]).await;
    match folder {
        Some(folder) if Path::new(folder.trim()).is_dir() => Finding::ok(check, "installed"),
        _ => Finding::wrong(check, "not found, and deploying needs it", format!("`rustup target add {target}`")),
    }
}

async fn cargo_lambda() -> Finding {
    let fix = "`pip install cargo-lambda`, or https://www.cargo-lambda.info";
    let found = version("cargo", &["lambda", "--version"]).await;
    tool("cargo-lambda", found, &CARGO_LAMBDA, "deploying needs it", fix)
}

/// cargo-lambda links with zig, its own or Python's.
async fn zig() -> Finding {
    let mut found = version("zig", &["version"]).await;
    for python in ["python3", "python"] {
        if found.is_none() {
            found = version(python, &["-m", "ziglang", "version"]).await;
        }
    }
    tool("zig", found, &[], "cargo-lambda links with it", "`pip install ziglang`, or https://ziglang.org/download")
}

async fn sam() -> Finding {
    let guide = "https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/install-sam-cli.html";
    let found = version("sam", &["--version"]).await;
    tool("sam", found, &SAM, "`sam deploy` needs it", &format!("`pip install aws-sam-cli`, or {guide}"))
}

async fn aws() -> Finding {
    let guide = "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html";
    match version("aws", &["--version"]).await {
        Some(found) => Finding::ok("aws", found),
        None => Finding::note("aws", "not found; only the guide's examples use it", guide),
    }
}

async fn docker() -> Finding {
    for (program, arguments) in
        [("docker", ["version", "--format={{.Server.Version}}"]), ("finch", ["info", "--format={{.ServerVersion}}"])]
    {
        if let Some(found) = version(program, &arguments).await {
            return Finding::ok(program, found);
        }
    }
    Finding::note("docker or finch", "neither runs; only `sam local` needs one", "https://docs.docker.com/get-docker")
}

async fn java() -> Finding {
    match run("java", &["-version"]).await {
        Some(said) => Finding::ok("java", said.lines().next().unwrap_or_default().trim()),
        None => {
            Finding::note("java", "not found; only tests on DynamoDB Local need it", "install a JRE of 17 or newer")
        }
    }
}

/// Whether there are credentials and a region. Nobody is asked whether they are valid.
async fn identity(account: Account<'_>) -> (Finding, Finding) {
    let config = account.config().await;
    let region = match config.region() {
        Some(region) => Finding::ok("region", region.to_string()),
        None => Finding::wrong("region", "not set, and deploying needs it", "`aws configure`, or set AWS_REGION"),
    };
    let found = match config.credentials_provider() {
        Some(provider) => timeout(PATIENCE, provider.provide_credentials()).await.is_ok_and(|found| found.is_ok()),
        None => false,
    };
    let credentials = if found {
        Finding::ok("AWS credentials", "found, not tried; `aws sts get-caller-identity` tries them")
    } else {
        let fix = "`aws configure sso`, `aws configure`, or set AWS_PROFILE";
        Finding::wrong("AWS credentials", "none found, and deploying needs them", fix)
    };
    (credentials, region)
}

async fn port(port: u16, option: &str) -> Finding {
    let check = format!("port {port}");
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Ok(_) => Finding::ok(check, "free"),
        Err(error) => {
            let says = format!("`cargo dev` cannot have it ({error}); is one running?");
            Finding::note(check, says, format!("`cargo dev -- {option}` takes another"))
        }
    }
}

fn tool(name: &str, found: Option<String>, oldest: &[u32], why: &str, fix: &str) -> Finding {
    match found {
        None => Finding::wrong(name, format!("not found, and {why}"), fix),
        Some(found) if numbers(&found) < oldest.to_vec() => {
            let oldest: Vec<_> = oldest.iter().map(u32::to_string).collect();
            Finding::wrong(name, format!("{found} is too old, {} is needed", oldest.join(".")), fix)
        }
        Some(found) => Finding::ok(name, found),
    }
}

/// The first version in what a tool says of itself.
async fn version(program: &str, arguments: &[&str]) -> Option<String> {
    let said = run(program, arguments).await?;
    let is_version = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.');
    let word = said.split([' ', '/', '\n', ',']).find(is_version)?;
    Some(word.trim().to_owned())
}

/// What a program says on either stream; `None` where it is not there, fails, or takes too long.
async fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.ok()?.ok()?;
    let text = [output.stdout, output.stderr].concat();
    output.status.success().then(|| String::from_utf8_lossy(&text).into_owned())
}

/// `1.95.0-nightly` as `[1, 95, 0]`.
fn numbers(version: &str) -> Vec<u32> {
    let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>();
    version.split('.').map_while(|part| digits(part).parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_number_by_number() {
        for (older, newer) in
            [("1.9.2", "1.10"), ("1.95", "1.95.0"), ("1.94.1", "1.95"), ("", "1"), ("1.95.0-beta", "2")]
        {
            assert!(numbers(older) < numbers(newer), "{older} {newer}");
        }
        assert_eq!(numbers("1.97.0-nightly"), [1, 97, 0]);
    }
}
