//! Functions in Node.js and Python: run by the machine's own interpreter, as they lie in their folder.

mod code;
mod interpreter;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tidings_local_stack::Function;

use super::program::Program;
use code::{Archives, Root, existing};
use interpreter::{Interpreter, Language};

/// The programs that ask for events and call the handlers.
const NODE: (&str, &str) = ("bootstrap.cjs", include_str!("script/bootstrap.cjs"));
const PYTHON: (&str, &str) = ("bootstrap.py", include_str!("script/bootstrap.py"));

/// The functions of a stack that an interpreter runs.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    programs: BTreeMap<String, Program>,
    interpreters: BTreeMap<String, Interpreter>,
    archives: Archives,
    /// What a developer should know of the interpreters: one sentence each.
    pub(super) warnings: Vec<String>,
}

/// Whether an interpreter runs the function.
pub(super) fn is_script(function: &Function) -> bool {
    language(function).is_some() && (function.code.is_some() || function.inline.is_some())
}

fn language(function: &Function) -> Option<Language> {
    function.runtime.as_deref().and_then(Language::of)
}

impl Scripts {
    /// Takes a function in; says in one clause why it cannot run.
    pub(super) async fn add(&mut self, id: &str, function: &Function, inspect: Option<u16>) -> Result<(), String> {
        let (Some(language), Some(runtime)) = (language(function), function.runtime.as_deref()) else {
            return Err("it has no `Runtime` of Node.js or Python".to_owned());
        };
        if function.handler.as_deref().is_none_or(str::is_empty) {
            return Err(format!("it runs on {runtime}, so it needs a `Handler`, as `index.handler`"));
        }
        if inspect.is_some() && language == Language::Python {
            return Err("--inspect is for functions in Node.js".to_owned());
        }
        let interpreter = match self.interpreters.get(runtime) {
            Some(known) => known.clone(),
            None => {
                let found = Interpreter::find(language, runtime).await?;
                self.warnings.extend(found.warning(runtime));
                self.interpreters.insert(runtime.to_owned(), found.clone());
                found
            }
        };
        let root = self.archives.root(function, language)?;
        let program = program(language, &interpreter, function, root, inspect)?;
        self.programs.insert(id.to_owned(), program);
        Ok(())
    }

    /// All programs by logical id.
    pub(super) fn programs(&self) -> BTreeMap<String, Program> {
        self.programs.clone()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.programs.len()
    }

    /// The folders that they are made of.
    pub(super) fn sources(&self) -> impl Iterator<Item = &PathBuf> {
        self.programs.values().flat_map(|program| &program.sources)
    }
}

fn program(
    language: Language,
    interpreter: &Interpreter,
    function: &Function,
    root: Root,
    inspect: Option<u16>,
) -> Result<Program, String> {
    let (bootstrap, text) = if language == Language::Node { NODE } else { PYTHON };
    let cannot_write = |error: io::Error| format!("its files cannot be written to the temporary folder: {error}");
    let own = tempfile::Builder::new().prefix("tidings-").tempdir().map_err(cannot_write)?;
    let bootstrap = own.path().join(bootstrap);
    std::fs::write(&bootstrap, text).map_err(cannot_write)?;
    let mut layers = Vec::new();
    for layer in &function.layers {
        layers.push(existing(layer, "the folder of its layer")?);
    }
    let mut variables = language.variables(&layers);
    variables.push(("LAMBDA_TASK_ROOT".to_owned(), root.folder.to_string_lossy().into_owned()));
    let mut arguments = Vec::new();
    arguments.extend(inspect.map(|port| format!("--inspect=127.0.0.1:{port}").into()));
    arguments.push(bootstrap.into());
    let sources = root.sources.into_iter().chain(layers).collect();
    let kept = root.kept.into_iter().chain([Arc::new(own)]).collect();
    Ok(Program { path: interpreter.path.clone(), arguments, variables, sources, _kept: kept })
}
