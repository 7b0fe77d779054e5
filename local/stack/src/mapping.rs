//! Mapping templates: what API Gateway makes of requests and answers by itself, in VTL.

use std::path::PathBuf;

use indexmap::IndexMap;

/// A mapping template, with the place where it stands, so that an error can name its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingTemplate {
    /// The VTL.
    pub text: String,
    /// The file of the SAM or CloudFormation template, where it came from one.
    pub file: Option<PathBuf>,
    /// The line of its property; of its first line where it is a block (`|`).
    pub line: usize,
    /// Whether it is a block, whose lines are lines of the file too.
    pub is_block: bool,
}

impl MappingTemplate {
    /// A template that stands in no file.
    #[must_use]
    pub fn of_text(text: impl Into<String>) -> Self {
        Self { text: text.into(), file: None, line: 1, is_block: true }
    }

    /// The line of the file where a line of the template is, both counted from 1; that of its property where it is no block.
    #[must_use]
    pub fn line_in_file(&self, line: usize) -> usize {
        if self.is_block { self.line + line.saturating_sub(1) } else { self.line }
    }
}

/// Templates of which one is chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Templates {
    /// `TemplateSelectionExpression`: gives a key of `by_key`.
    pub selection: Option<String>,
    /// The templates.
    pub by_key: IndexMap<String, MappingTemplate>,
}

/// An integration of the type `MOCK`, which answers without invoking anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mock {
    /// `RequestTemplates`: their `statusCode` is the answer's; 200 where there are none.
    pub request: Templates,
    /// What may be answered.
    pub responses: Vec<IntegrationResponse>,
}

/// What an integration's answers become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegrationResponse {
    /// `IntegrationResponseKey`: `$default`, or a pattern for the status between slashes, such as `/4\d\d/`.
    pub key: String,
    /// `ResponseTemplates`.
    pub templates: Templates,
}
