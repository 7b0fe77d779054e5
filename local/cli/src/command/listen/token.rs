//! A token that a command prints.

use std::process::{ExitStatus, Stdio};

use tokio::process::Command;

/// Why there is no token. Nothing that the command printed is told: it may be one all the same.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    #[error("--token-command cannot be run")]
    Run(#[source] std::io::Error),
    #[error("--token-command ended with {0}")]
    Failed(ExitStatus),
    #[error("--token-command printed nothing")]
    Nothing,
    #[error("--token-command printed more than a token: it has spaces, or several lines")]
    NoToken,
}

/// Runs the command. What it writes to standard error is for the user to see.
pub(super) async fn from(command: String) -> Result<String, TokenError> {
    let (shell, option) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let mut shell = Command::new(shell);
    shell.args([option, &command]).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = shell.output().await.map_err(TokenError::Run)?;
    if !output.status.success() {
        return Err(TokenError::Failed(output.status));
    }
    let token = String::from_utf8(output.stdout).map_err(|_| TokenError::NoToken)?;
    match token.trim() {
        "" => Err(TokenError::Nothing),
        token if token.contains(char::is_whitespace) => Err(TokenError::NoToken),
        token => Ok(token.to_owned()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_prints_a_token_or_it_is_told_why_not_and_never_what() {
        let run = async |command: &str| from(command.to_owned()).await.map_err(|error| error.to_string());
        assert_eq!(run("echo secret").await.unwrap(), "secret");
        assert_eq!(run("echo secret; exit 3").await.unwrap_err(), "--token-command ended with exit status: 3");
        assert_eq!(run("true").await.unwrap_err(), "--token-command printed nothing");
        let more = run("echo the token is secret").await.unwrap_err();
        assert!(more.contains("printed more than a token") && !more.contains("secret"), "{more}");
    }
}
