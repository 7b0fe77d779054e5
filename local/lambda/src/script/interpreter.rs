//! The interpreters of this machine.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// A language of which Lambda has runtimes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Node,
    Python,
}

/// A version as runtimes count them: `20` of Node.js, `3.12` of Python.
type Version = Vec<u32>;

/// An interpreter that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interpreter {
    pub(super) path: PathBuf,
    language: Language,
    version: Version,
}

impl Language {
    /// The language of a `Runtime`, for example `nodejs20.x`.
    pub(super) fn of(runtime: &str) -> Option<Self> {
        match runtime {
            _ if runtime.starts_with("nodejs") => Some(Self::Node),
            _ if runtime.starts_with("python3") => Some(Self::Python),
            _ => None,
        }
    }

    fn wanted(self, runtime: &str) -> Version {
        let number = runtime.trim_start_matches(char::is_alphabetic).trim_end_matches(".x");
        parse(self, number)
    }

    fn name(self) -> &'static str {
        if self == Self::Node { "Node.js" } else { "Python" }
    }

    /// What a layer brings is where each runtime looks for it.
    pub(super) fn variables(self, layers: &[PathBuf]) -> Vec<(String, String)> {
        // The layer that is named last is laid over those before it.
        let join = |inside: &str| {
            let paths = layers.iter().rev().map(|layer| layer.join(inside));
            std::env::join_paths(paths).unwrap_or_default().to_string_lossy().into_owned()
        };
        let pairs: Vec<(&str, String)> = match self {
            Self::Node => vec![("NODE_PATH", join("nodejs/node_modules"))],
            // Compiled files would look like changes of the sources.
            Self::Python => vec![
                ("PYTHONPATH", join("python")),
                ("PYTHONUNBUFFERED", "1".to_owned()),
                ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
            ],
        };
        pairs.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl Interpreter {
    /// Finds the interpreter for a `Runtime`: the very version if it has a name of its own, else the usual one.
    pub(super) async fn find(language: Language, runtime: &str) -> Result<Self, String> {
        let exact = runtime.to_owned();
        let names = match language {
            Language::Node => vec!["node".to_owned()],
            Language::Python => vec![exact, "python3".to_owned()],
        };
        for name in &names {
            if let Some(found) = Self::ask(language, name).await {
                return Ok(found);
            }
        }
        let (name, usual) = (language.name(), names.last().map_or("", String::as_str));
        let version = runtime.trim_start_matches(char::is_alphabetic).trim_end_matches(".x");
        Err(format!(
            "it runs on {runtime}, but there is no `{usual}` that runs: install {name} {version}, or give \
             --lambda-endpoint"
        ))
    }

    /// Asks a program which version it is and where it really is: what is found by its name may be a launcher.
    async fn ask(language: Language, name: &str) -> Option<Self> {
        let question = match language {
            Language::Node => ["-p", "process.versions.node + '\\n' + process.execPath"],
            Language::Python => ["-c", "import sys; print('%d.%d' % sys.version_info[:2]); print(sys.executable)"],
        };
        let asked = Command::new(name).args(question).stdin(Stdio::null()).kill_on_drop(true).output();
        let said = asked.await.ok().filter(|output| output.status.success())?;
        let said = String::from_utf8(said.stdout).ok()?;
        let (version, path) = said.trim_end().split_once('\n')?;
        let path = Path::new(path.trim());
        Some(Self { path: path.to_owned(), language, version: parse(language, version) })
    }

    /// What to say where the machine has another version than the template names.
    pub(super) fn warning(&self, runtime: &str) -> Option<String> {
        let (wanted, language) = (self.language.wanted(runtime), self.language.name());
        if wanted.is_empty() || wanted == self.version {
            return None;
        }
        let (here, wanted_text) = (text(&self.version), text(&wanted));
        let more = if self.version < wanted { "which is older: what is new may fail here" } else { "which is newer" };
        Some(format!(
            "functions of {runtime} run on {language} {here} of this machine, {more}; install {language} {wanted_text} \
             to run them as deployed"
        ))
    }
}

fn parse(language: Language, text: &str) -> Version {
    let parts = if language == Language::Node { 1 } else { 2 };
    text.trim().split('.').take(parts).map_while(|part| part.parse().ok()).collect()
}

fn text(version: &Version) -> String {
    version.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(language: Language, version: &[u32], runtime: &str) -> Option<String> {
        Interpreter { path: "x".into(), language, version: version.to_vec() }.warning(runtime)
    }

    #[test]
    fn another_version_is_told_with_the_fix() {
        assert_eq!(warning(Language::Node, &[20], "nodejs20.x"), None);
        assert_eq!(warning(Language::Python, &[3, 12], "python3.12"), None);
        assert_eq!(
            warning(Language::Node, &[22], "nodejs18.x").unwrap(),
            "functions of nodejs18.x run on Node.js 22 of this machine, which is newer; install Node.js 18 to run them as \
             deployed"
        );
        let older = warning(Language::Python, &[3, 9], "python3.12").unwrap();
        assert!(older.contains("run on Python 3.9 of this machine, which is older") && older.contains("Python 3.12"));
    }

    #[tokio::test]
    async fn a_missing_interpreter_is_told_with_the_fix() {
        assert_eq!(Interpreter::ask(Language::Node, "no-such-interpreter").await, None);
    }

    #[test]
    fn the_last_layer_comes_first() {
        let layers = ["/a".into(), "/b".into()];
        let variables = Language::Node.variables(&layers);
        assert_eq!(variables, [("NODE_PATH".to_owned(), "/b/nodejs/node_modules:/a/nodejs/node_modules".to_owned())]);
        assert!(Language::Node.variables(&[]).is_empty());
    }
}
