//! Mapping templates: what API Gateway makes of requests and answers by itself, in VTL.

use std::path::PathBuf;

use indexmap::IndexMap;

/// A mapping template, with the place where it stands, so that an error can name its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingTemplate {
    /// The VTL.
    pub text: String,
    /// What messages call it, for example "the template `$default` in `RequestTemplates` of `Send`".
    pub name: String,
    /// The file of the SAM or CloudFormation template, where it came from one.
    pub file: Option<PathBuf>,
    /// The line of its property.
    pub line: usize,
    /// The line of the file for each of its lines, where it is a block (`|` or `>`); else empty.
    pub lines: Vec<usize>,
}

impl MappingTemplate {
    /// A template that stands in no file.
    #[must_use]
    pub fn of_text(text: impl Into<String>) -> Self {
        let text = text.into();
        let lines = (1..).take(text.split('\n').count()).collect();
        Self { text, name: "the mapping template".to_owned(), file: None, line: 1, lines }
    }

    /// The line of the file where a line of the template is, both counted from 1; that of its property where it is no block.
    #[must_use]
    pub fn line_in_file(&self, line: usize) -> usize {
        self.lines.get(line.saturating_sub(1)).or(self.lines.last()).copied().unwrap_or(self.line)
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
