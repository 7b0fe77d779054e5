//! The properties of one resource, evaluated one by one as a reader asks for them.

use std::{ops::RangeInclusive, rc::Rc, str::FromStr};

use indexmap::IndexMap;

use super::{
    Fault,
    evaluate::Scope,
    node::{Map, Node, Value},
    resource::Resource,
};
use tidings_local_stack::Note;

/// A mapping inside of a resource, at first its `Properties`.
pub(super) struct Properties<'a> {
    scope: &'a Scope,
    /// Logical id of the resource, for messages.
    logical_id: &'a str,
    map: Map,
    /// Where the mapping begins.
    pub(super) line: usize,
}

impl<'a> Properties<'a> {
    pub(super) fn of(scope: &'a Scope, logical_id: &'a str, resource: &Resource) -> Self {
        let map = resource.properties.as_map().cloned().unwrap_or_default();
        Self { scope, logical_id, map, line: resource.line }
    }

    /// The resource's `Metadata`.
    pub(super) fn of_metadata(scope: &'a Scope, logical_id: &'a str, resource: &Resource) -> Self {
        let map = resource.metadata.as_ref().and_then(|node| node.as_map()).cloned().unwrap_or_default();
        Self { scope, logical_id, map, line: resource.line }
    }

    /// Logical id of the resource.
    pub(super) fn logical_id(&self) -> &'a str {
        self.logical_id
    }

    /// What the values are evaluated in.
    pub(super) fn scope(&self) -> &'a Scope {
        self.scope
    }

    /// A note about a line of this resource's template.
    pub(super) fn note(&self, line: usize, text: impl Into<String>) -> Note {
        Note { file: self.scope.place.file.clone(), ..Note::new(line, text) }
    }

    /// Whether the key is there, with a value that is known here or not. `AWS::NoValue` takes it away.
    pub(super) fn has(&self, key: &str) -> bool {
        let value = self.map.get(key).map(|node| self.scope.evaluate(node));
        match value {
            None | Some(Ok(None)) => false,
            Some(Ok(Some(value))) => value.value != Value::Null,
            Some(Err(_)) => true,
        }
    }

    /// The line of a key, or else of the mapping.
    pub(super) fn line_of(&self, key: &str) -> usize {
        self.map.get(key).map_or(self.line, |node| node.line)
    }

    /// A fault at a key's line: "`Key` of `Resource`" and the given words.
    pub(super) fn fault(&self, key: &str, words: impl std::fmt::Display) -> Fault {
        let is_hidden = !self.map.contains_key(key) && self.map.contains_key("Fn::Transform");
        let hint = if is_hidden { "; it may come from `Fn::Transform`, which is not followed locally" } else { "" };
        self.scope.located(Fault::at(self.line_of(key), format!("`{key}` of `{}` {words}{hint}", self.logical_id)))
    }

    pub(super) fn value(&self, key: &str) -> Result<Option<Rc<Node>>, Fault> {
        let Some(node) = self.map.get(key) else { return Ok(None) };
        let value = self.scope.evaluate(node).map_err(|fault| self.scope.located(fault))?;
        Ok(value.filter(|value| value.value != Value::Null))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, Fault> {
        let Some(value) = self.value(key)? else { return Ok(None) };
        value.as_text().map(|text| Some(text.to_owned())).ok_or_else(|| self.fault(key, "must be text"))
    }

    pub(super) fn required_text(&self, key: &str) -> Result<String, Fault> {
        self.text(key)?.ok_or_else(|| self.fault(key, "is missing"))
    }

    pub(super) fn number<T>(&self, key: &str, range: RangeInclusive<T>) -> Result<Option<T>, Fault>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let Some(text) = self.text(key)? else { return Ok(None) };
        text.trim().parse().ok().filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            self.fault(key, format!("must be a whole number from {least} to {most}, not `{text}`"))
        })
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, Fault> {
        match self.text(key)?.map(|text| text.to_ascii_lowercase()).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(self.fault(key, format!("must be true or false, not `{other}`"))),
        }
    }

    /// A mapping inside of this one.
    pub(super) fn inside(&self, key: &str) -> Result<Option<Self>, Fault> {
        let Some(node) = self.map.get(key) else { return Ok(None) };
        // A mapping that stands there as it is is not evaluated as a whole: only what is asked for has to be known.
        if let (Some(map), None) = (node.as_map(), node.as_intrinsic()) {
            return Ok(Some(self.with(map.clone(), node.line)));
        }
        let Some(value) = self.value(key)? else { return Ok(None) };
        let map = value.as_map().ok_or_else(|| self.fault(key, "must be a mapping"))?;
        Ok(Some(self.with(map.clone(), node.line)))
    }

    /// A list of mappings, empty where there is none.
    pub(super) fn each(&self, key: &str) -> Result<Vec<Self>, Fault> {
        let Some(value) = self.value(key)? else { return Ok(Vec::new()) };
        let items = value.as_list().ok_or_else(|| self.fault(key, "must be a list"))?;
        let item = |item: &Rc<Node>| {
            let map = item.as_map().ok_or_else(|| self.fault(key, "must be a list of mappings"))?;
            Ok(self.with(map.clone(), item.line))
        };
        items.iter().map(item).collect()
    }

    /// A list of texts, empty where there is none. One text counts as a list of it.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, Fault> {
        let Some(value) = self.value(key)? else { return Ok(Vec::new()) };
        let items = value.as_list().unwrap_or(std::slice::from_ref(&value));
        let texts: Option<Vec<_>> = items.iter().map(|item| item.as_text().map(str::to_owned)).collect();
        texts.ok_or_else(|| self.fault(key, "must be a list of texts"))
    }

    /// The keys of the mapping.
    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.map.keys()
    }

    /// All of the mapping as texts.
    pub(super) fn all_texts(&self) -> Result<IndexMap<String, String>, Fault> {
        let keys = self.map.keys();
        keys.filter_map(|key| self.text(key).map(|text| Some((key.clone(), text?))).transpose()).collect()
    }

    fn with(&self, map: Map, line: usize) -> Self {
        Self { scope: self.scope, logical_id: self.logical_id, map, line }
    }
}

impl Scope {
    /// The resources of some kinds that are created under the conditions as they are.
    pub(super) fn resources_of<'a>(
        &'a self,
        kinds: &'static [&'static str],
    ) -> impl Iterator<Item = Result<(&'a str, &'a Resource), Fault>> {
        let of_kind = self.resources.iter().filter(move |(_, resource)| kinds.contains(&resource.kind.as_str()));
        of_kind.filter_map(|(logical_id, resource)| match &resource.condition {
            Some(condition) => match self.condition(condition, resource.line) {
                Ok(true) => Some(Ok((logical_id.as_str(), resource))),
                Ok(false) => None,
                Err(fault) => Some(Err(self.located(fault))),
            },
            None => Some(Ok((logical_id.as_str(), resource))),
        })
    }
}
