//! Reads a SAM or CloudFormation template, in YAML or JSON, into the [`Stack`] that runs locally.
//!
//! The text becomes a tree that knows its lines (`node`); parameters get their values (`parameters`); loops are written out
//! (`foreach`), then SAM's shorthands, and `Globals` merged (`resources`, `sam`); and then one reader for each family of resources
//! (`functions`, `tables`, `queues`, `topics`, `secrets`, `event_sources`, `event_rules`, `apis`) takes the properties that it needs. Intrinsic functions are evaluated only there
//! (`evaluate`), so what is not supported hurts only where its value is needed.
//!
//! Each nested stack with a local path is a scope of its own (`nested`), and a reader goes through all of them. Nothing
//! but [`load`] does I/O.

mod apis;
mod evaluate;
mod event_rules;
mod event_sources;
mod foreach;
mod functions;
mod intrinsics;
mod layers;
mod names;
mod nested;
mod node;
mod parameters;
mod place;
mod properties;
mod queues;
mod references;
mod resource;
mod resources;
mod rules;
mod sam;
mod secrets;
mod tables;
mod topics;
mod unsupported;

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Display,
    io,
    path::{Path, PathBuf},
    rc::Rc,
};

use indexmap::IndexMap;

use evaluate::{Scope, Shared};
use parameters::Given;
use place::Place;
use tidings_local_stack::{Function, Note, Queue, Rule, Secret, Stack, Table, Topic};

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
    /// The file, once it is known.
    file: Option<PathBuf>,
    line: Option<usize>,
    text: String,
    /// The template may be right: the value is just not known on this machine.
    is_elsewhere: bool,
}

impl Fault {
    fn at(line: usize, text: impl Display) -> Self {
        Self { line: Some(line), ..Self::nowhere(text) }
    }

    fn nowhere(text: impl Display) -> Self {
        Self { file: None, line: None, text: text.to_string(), is_elsewhere: false }
    }

    /// A value that only CloudFormation knows.
    fn elsewhere(line: usize, text: impl Display) -> Self {
        Self { is_elsewhere: true, ..Self::at(line, text) }
    }

    /// Names the file, unless one is named already: what goes wrong in a nested template passes the ones around it.
    fn in_file(mut self, file: Option<&Path>) -> Self {
        self.file = self.file.or_else(|| file.map(Path::to_owned));
        self
    }
}

impl From<Fault> for TemplateError {
    fn from(fault: Fault) -> Self {
        Self::Invalid { file: fault.file, line: fault.line, message: fault.text }
    }
}

/// What the reader has to know beside the template.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Values of parameters, also of pseudo parameters such as `AWS::Region`, which is else `us-east-1`. `Nested/Name` is a
    /// parameter of a nested stack, whatever that one is passed.
    pub parameters: &'a BTreeMap<String, String>,
    /// The address of the SQS API, for example `http://127.0.0.1:3030`: what queue URLs begin with.
    pub sqs: &'a str,
    /// Whether functions run behind another Lambda Invoke API. Then neither their code nor their environment has to be known.
    pub functions_elsewhere: bool,
}

/// Reads the template at `path`, and those that it nests; see [`read`]. Relative paths in a template start at its folder.
///
/// # Errors
/// As [`read`], with the file's name; and when there is no such file or it is not UTF-8 text.
pub fn load(path: &Path, context: Context<'_>) -> Result<Stack, TemplateError> {
    let unreadable = |source| TemplateError::Unreadable { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => TemplateError::NotFound { path: path.to_owned() },
        _ => unreadable(error),
    })?;
    let place = Place::of_file(path).map_err(unreadable)?;
    Ok(stack(&text, place, context)?)
}

/// The default of a parameter, where the template at `path` can be read and has one.
#[must_use]
pub fn default_of(path: &Path, parameter: &str) -> Option<String> {
    let root = node::parse(&std::fs::read_to_string(path).ok()?).ok()?;
    let parameters = root.as_map()?.get("Parameters")?.as_map()?;
    parameters.get(parameter)?.as_map()?.get("Default")?.as_text().map(str::to_owned)
}

/// Reads a template's text. `folder` is where its relative paths start. Nested stacks are read by [`load`] only.
///
/// A parameter's value is taken from the context, else from the template's `Metadata: tidings: dev: Parameters`, else
/// from its `Default`.
///
/// # Errors
/// When the text is no template or has no API; when a parameter has no value, a value that it does not
/// allow, or does not exist; when an assertion of `Rules` does not hold; when something that runs locally depends on what cannot be resolved.
pub fn read(text: &str, folder: &Path, context: Context<'_>) -> Result<Stack, TemplateError> {
    Ok(stack(text, Place::of_text(folder), context)?)
}

fn stack(text: &str, place: Place, context: Context<'_>) -> Result<Stack, Fault> {
    let file = place.file.clone();
    let read = || {
        let all = context.parameters.clone().into_iter();
        let (nested, values) = all.partition(|(name, _)| name.contains('/'));
        let given = Given { values, ..Given::default() };
        let shared = Rc::new(Shared::new(context.sqs, nested, context.functions_elsewhere));
        let main = nested::scope(&node::parse(text)?, place, given, Rc::clone(&shared))?;
        let mut reading = Reading { scopes: nested::all(main)?, notes: Vec::new() };
        nested::check_given(&reading.scopes, &shared)?;
        reading.stack()
    };
    read().map_err(|fault: Fault| fault.in_file(file.as_deref()))
}

/// The scopes that a stack is read from, the main template's first, and what there is to say about them.
struct Reading {
    scopes: Vec<Rc<Scope>>,
    notes: Vec<Note>,
}

impl Reading {
    fn stack(&mut self) -> Result<Stack, Fault> {
        let mut functions: IndexMap<String, Function> = self.each(functions::read)?.into_iter().flatten().collect();
        self.each(|scope, notes| functions::read_asynchronous(scope, &mut functions, notes))?;
        let tables: IndexMap<String, Table> =
            self.each(|scope, _| tables::read(scope))?.into_iter().flatten().collect();
        let queues: IndexMap<String, Queue> =
            self.each(|scope, _| queues::read(scope))?.into_iter().flatten().collect();
        self.each(|scope, notes| queues::note_dead_letters(scope, &queues, notes))?;
        let secrets: IndexMap<String, Secret> =
            self.each(|scope, _| secrets::read(scope))?.into_iter().flatten().collect();
        let readable = event_sources::Readable { functions: &functions, tables: &tables, queues: &queues };
        let event_sources = self.each(|scope, notes| event_sources::read(scope, &readable, notes))?;
        let event_sources = event_sources.into_iter().flatten().collect();
        let event_buses = self.each(|scope, _| event_rules::read_buses(scope))?.into_iter().flatten().collect();
        let topics: IndexMap<String, Topic> =
            self.each(|scope, _| topics::read(scope))?.into_iter().flatten().collect();
        let reachable = event_rules::Reachable { functions: &functions, queues: &queues, topics: &topics };
        let subscriptions = self.each(|scope, notes| topics::read_subscriptions(scope, &topics, &reachable, notes))?;
        let subscriptions = subscriptions.into_iter().flatten().collect();
        let rules = self.each(|scope, notes| event_rules::read(scope, &reachable, notes))?;
        let rules: IndexMap<String, Rule> = rules.into_iter().flatten().collect();
        let parts = apis::Parts { scopes: &self.scopes, functions: &functions, queues: &queues };
        let http_apis = apis::http::read(&parts, &mut self.notes)?;
        let apis = apis::read(&parts, !http_apis.is_empty(), &mut self.notes)?;
        self.check_names(functions.iter().map(|(path, function)| (path, &function.name)))?;
        self.check_names(tables.iter().map(|(path, table)| (path, &table.name)))?;
        self.check_names(queues.iter().map(|(path, queue)| (path, &queue.name)))?;
        self.check_names(topics.iter().map(|(path, topic)| (path, &topic.name)))?;
        self.check_names(secrets.iter().map(|(path, secret)| (path, &secret.name)))?;
        self.check_names(rules.iter().map(|(path, rule)| (path, &rule.name)))?;
        let dev_parameters = self.scopes.iter().flat_map(|scope| scope.dev_parameters()).collect();
        let templates = self.templates();
        let notes = self.notes(&templates);
        Ok(Stack {
            apis,
            http_apis,
            functions,
            tables,
            queues,
            secrets,
            event_sources,
            event_buses,
            rules,
            topics,
            subscriptions,
            dev_parameters,
            notes,
            templates,
        })
    }

    /// Lets a reader go through all scopes; faults and notes get the name of the scope's file.
    fn each<T>(&mut self, mut read: impl FnMut(&Scope, &mut Vec<Note>) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
        let mut found = Vec::new();
        for scope in &self.scopes {
            let file = scope.place.file.as_deref();
            let mut notes = Vec::new();
            found.push(read(scope, &mut notes).map_err(|fault| fault.in_file(file))?);
            self.notes.extend(notes.into_iter().map(|note| Note { file: file.map(Path::to_owned), ..note }));
        }
        Ok(found)
    }

    /// Two resources of a kind cannot have one name, as a table of a template that is nested twice might.
    fn check_names<'a>(&self, names: impl Iterator<Item = (&'a String, &'a String)>) -> Result<(), Fault> {
        let mut first: HashMap<&String, &String> = HashMap::new();
        for (path, name) in names {
            let Some(other) = first.insert(name, path) else { continue };
            let text = format!("`{path}` is called `{name}`, as `{other}` is: give one of them another name");
            let mut here = self.scopes.iter().flat_map(|scope| scope.resources.iter().map(move |found| (scope, found)));
            let found = here.find(|(scope, (logical_id, _))| scope.place.path_of(logical_id) == *path);
            return Err(match found {
                Some((scope, (_, resource))) => scope.located(Fault::at(resource.line, text)),
                None => Fault::nowhere(text),
            });
        }
        Ok(())
    }

    /// All files, each once.
    fn templates(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = Vec::new();
        for file in self.scopes.iter().filter_map(|scope| scope.place.file.as_ref()) {
            if !files.contains(file) {
                files.push(file.clone());
            }
        }
        files
    }

    /// All notes by file and line, each once: a template that is nested twice says everything twice.
    fn notes(&mut self, files: &[PathBuf]) -> Vec<Note> {
        let early = self.scopes.iter().flat_map(|scope| scope.notes());
        let mut notes: Vec<_> = early.chain(self.notes.drain(..)).collect();
        let position = |note: &Note| files.iter().position(|file| Some(file) == note.file.as_ref());
        notes.sort_by_key(|note| (position(note), note.line));
        notes.dedup();
        notes
    }
}

/// A template's text as JSON, with YAML's short tags written out (`!Ref a` as `{"Ref": "a"}`) and nothing evaluated.
///
/// # Errors
/// When the text is neither YAML nor JSON.
pub fn to_json(text: &str) -> Result<serde_json::Value, TemplateError> {
    Ok(node::parse(text)?.to_json())
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
