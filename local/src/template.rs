//! Reads a SAM or CloudFormation template, in YAML or JSON, into the [`Stack`] that runs locally.
//!
//! The text becomes a tree that knows its lines (`node`); parameters get their values (`parameters`); SAM's shorthands
//! are written out and `Globals` merged (`resources`, `sam`); and then one reader for each family of resources
//! (`functions`, `tables`, `queues`, `secrets`, `event_sources`, `apis`) takes the properties that it needs. Intrinsic functions are evaluated only there
//! (`evaluate`), so what is not supported hurts only where its value is needed. Nothing but [`load`] does I/O.

mod apis;
mod evaluate;
mod event_sources;
mod functions;
mod intrinsics;
mod node;
mod parameters;
mod properties;
mod queues;
mod references;
mod resources;
mod rules;
mod sam;
mod secrets;
mod tables;

use std::{
    collections::BTreeMap,
    fmt::Display,
    io,
    path::{Path, PathBuf},
};

use crate::stack::{Note, Stack};
use evaluate::Scope;
use node::Node;

/// Why a template could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// There is no such file.
    #[error("there is no template at `{}`; name one with `--template PATH`", path.display())]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is there, but cannot be read as text.
    #[error("cannot read the template `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The template, or a parameter's value, is wrong.
    #[error("{}{message}", place(file.as_deref(), *line))]
    Invalid {
        /// The file, where the template came from one.
        file: Option<PathBuf>,
        /// Line in the template, counted from 1, where there is one.
        line: Option<usize>,
        /// One sentence that names the part and the fix.
        message: String,
    },
}

/// `template.yaml:12: `, as compilers and editors write it.
fn place(file: Option<&Path>, line: Option<usize>) -> String {
    match (file.map(Path::display), line) {
        (Some(file), Some(line)) => format!("{file}:{line}: "),
        (Some(file), None) => format!("{file}: "),
        (None, Some(line)) => format!("line {line}: "),
        (None, None) => String::new(),
    }
}

/// What is wrong, and in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    line: Option<usize>,
    text: String,
}

impl Fault {
    fn at(line: usize, text: impl Display) -> Self {
        Self { line: Some(line), text: text.to_string() }
    }

    fn nowhere(text: impl Display) -> Self {
        Self { line: None, text: text.to_string() }
    }
}

impl From<Fault> for TemplateError {
    fn from(fault: Fault) -> Self {
        Self::Invalid { file: None, line: fault.line, message: fault.text }
    }
}

/// What the reader has to know beside the template.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Values of parameters, also of pseudo parameters such as `AWS::Region`, which is else `us-east-1`.
    pub parameters: &'a BTreeMap<String, String>,
    /// The address of the SQS API, for example `http://127.0.0.1:3030`: what queue URLs begin with.
    pub sqs: &'a str,
}

/// Reads the template at `path`; see [`read`]. Relative paths in it start at its folder.
///
/// # Errors
/// As [`read`], with the file's name; and when there is no such file or it is not UTF-8 text.
pub fn load(path: &Path, context: Context<'_>) -> Result<Stack, TemplateError> {
    let unreadable = |source| TemplateError::Unreadable { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => TemplateError::NotFound { path: path.to_owned() },
        _ => unreadable(error),
    })?;
    let absolute = std::path::absolute(path).map_err(unreadable)?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    read(&text, folder, context).map_err(|error| match error {
        TemplateError::Invalid { line, message, .. } => {
            TemplateError::Invalid { file: Some(path.to_owned()), line, message }
        }
        error => error,
    })
}

/// The default of a parameter, where the template at `path` can be read and has one.
#[must_use]
pub fn default_of(path: &Path, parameter: &str) -> Option<String> {
    let root = node::parse(&std::fs::read_to_string(path).ok()?).ok()?;
    let parameters = root.as_map()?.get("Parameters")?.as_map()?;
    parameters.get(parameter)?.as_map()?.get("Default")?.as_text().map(str::to_owned)
}

/// Reads a template's text. `folder` is where its relative paths start.
///
/// A parameter's value is taken from the context, else from the template's `Metadata: tidings: dev: Parameters`, else
/// from its `Default`.
///
/// # Errors
/// When the text is no template or has no API; when a parameter has no value, a value that it does not
/// allow, or does not exist; when an assertion of `Rules` does not hold; when something that runs locally depends on what cannot be resolved.
pub fn read(text: &str, folder: &Path, context: Context<'_>) -> Result<Stack, TemplateError> {
    let root = node::parse(text)?;
    Ok(stack(&root, folder, context)?)
}

fn stack(root: &Node, folder: &Path, context: Context<'_>) -> Result<Stack, Fault> {
    let mut notes = transform_notes(root);
    let parameters = parameters::resolve(root, context.parameters, &mut notes)?;
    let resources = resources::collect(root, &mut notes)?;
    let scope = Scope::new(root, parameters.values, resources, context.sqs);
    rules::check(root, &scope)?;
    notes.extend(resources::notes(&scope));
    let mut functions = functions::read(&scope, folder, &mut notes)?;
    functions::read_asynchronous(&scope, &mut functions, &mut notes)?;
    let tables = tables::read(&scope)?;
    let queues = queues::read(&scope, &mut notes)?;
    let secrets = secrets::read(&scope)?;
    let readable = event_sources::Readable { functions: &functions, tables: &tables, queues: &queues };
    let event_sources = event_sources::read(&scope, &readable, &mut notes)?;
    let http_apis = apis::http::read(&scope, &functions, &mut notes)?;
    let apis = apis::read(&scope, &functions, !http_apis.is_empty(), &mut notes)?;
    notes.sort_by_key(|note| note.line);
    notes.dedup();
    let dev_parameters = parameters.from_metadata;
    Ok(Stack { apis, http_apis, functions, tables, queues, secrets, event_sources, dev_parameters, notes })
}

/// A template's text as JSON, with YAML's short tags written out (`!Ref a` as `{"Ref": "a"}`) and nothing evaluated.
///
/// # Errors
/// When the text is neither YAML nor JSON.
pub fn to_json(text: &str) -> Result<serde_json::Value, TemplateError> {
    Ok(node::parse(text)?.to_json())
}

/// Macros run in CloudFormation only.
fn transform_notes(root: &Node) -> Vec<Note> {
    let Some(transform) = root.get("Transform") else { return Vec::new() };
    let macros = transform.as_list().unwrap_or(std::slice::from_ref(transform));
    let known = ["AWS::Serverless-2016-10-31", "AWS::LanguageExtensions"];
    macros
        .iter()
        .map(|node| (node.line, node.as_text().or_else(|| node.get("Name")?.as_text()).unwrap_or("of this line")))
        .filter(|(_, name)| !known.contains(name))
        .map(|(line, name)| Note { line, text: format!("the macro `{name}` does not run locally") })
        .collect()
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
