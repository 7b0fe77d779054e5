//! API Gateway's mapping templates: the Velocity Template Language (VTL), as far as they use it.
//!
//! References with properties, methods and indexes; `#set`, `#if`, `#elseif`, `#else`, `#foreach`, `#break`, `#stop`, comments;
//! numbers, texts, lists, ranges and maps; `$input`, `$context`, `$stageVariables` and `$util` (API Gateway Developer Guide,
//! "Mapping template and access logging variable reference"). Not here: macros and what reads other templates.
//!
//! Parsing and rendering are bounded in depth, work and length, so that every template comes to an end.

mod ast;
mod expressions;
mod functions;
mod methods;
mod parser;
mod paths;
mod render;
mod value;

use indexmap::IndexMap;

/// What is wrong with a template, or went wrong in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct Error {
    /// The line of the template, counted from 1.
    pub line: usize,
    /// One clause.
    pub message: String,
}

impl Error {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Template(Vec<ast::Node>);

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// When the text is no VTL, or uses what is not supported.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parser::parse(text, 1).map(Self)
    }

    /// Renders it for one request.
    ///
    /// # Errors
    /// When a method does not exist or gets the wrong arguments, or when the result or the work grows too large.
    pub fn render(&self, input: &Input<'_>) -> Result<String, Error> {
        render::render(&self.0, input)
    }
}

/// What a template is rendered with.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// `$input.body`; also what `$input.json` and `$input.path` look into.
    pub body: &'a str,
    /// `$context`: an object.
    pub context: &'a serde_json::Value,
    /// `$stageVariables`.
    pub stage_variables: &'a IndexMap<String, String>,
    /// `$input.params`.
    pub parameters: &'a Parameters,
}

/// `$input.params()`. A name alone is looked up in the path, then in the query, then in the headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Variables of the path.
    pub path: IndexMap<String, String>,
    /// The query.
    pub query: IndexMap<String, String>,
    /// The headers.
    pub headers: IndexMap<String, String>,
}

#[cfg(test)]
mod tests;
