//! What a function may be called by.

use indexmap::IndexMap;

use tidings_local_stack::{Function, Stack};

/// The region and account of everything local, as the Lambda documentation's examples have them.
pub(super) const REGION: &str = "us-east-1";
/// The account of everything local.
pub const ACCOUNT: &str = "123456789012";

/// Finds functions by logical id, `FunctionName`, binary or the folder of their code, and gives each a short label.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Logical id by every name; the first function to claim a name keeps it.
    ids: IndexMap<String, String>,
    labels: IndexMap<String, String>,
}

impl Names {
    /// The names of a stack's functions.
    #[must_use]
    pub fn new(stack: &Stack) -> Self {
        let mut names = Self::default();
        let functions = &stack.functions;
        let claims = functions
            .keys()
            .map(|id| (id, Some(id.as_str())))
            .chain(functions.iter().map(|(id, function)| (id, Some(function.name.as_str()))))
            .chain(functions.iter().map(|(id, function)| (id, function.binary.as_deref())))
            .chain(functions.iter().map(|(id, function)| (id, folder(function))));
        for (id, name) in claims {
            if let Some(name) = name {
                names.ids.entry(name.to_owned()).or_insert_with(|| id.clone());
            }
        }
        for (id, function) in functions {
            let binary = function.binary.as_deref();
            let binary = binary.filter(|name| is_only(functions, name, |other| other.binary.as_deref()));
            let folder = folder(function).filter(|name| is_only(functions, name, folder));
            names.labels.insert(id.clone(), binary.or(folder).unwrap_or(id).to_owned());
        }
        names
    }

    /// The logical id of the function with this name, ARN or partial ARN; a version or alias behind it is ignored.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<&str> {
        self.ids.get(bare(name)).map(String::as_str)
    }

    /// What the function is called in log lines: its binary where the template names it, else its folder, where no other
    /// function has the same; else its logical id.
    #[must_use]
    pub fn label<'a>(&'a self, id: &'a str) -> &'a str {
        self.labels.get(id).map_or(id, String::as_str)
    }
}

/// The name in `NAME`, `NAME:ALIAS`, `ACCOUNT:function:NAME[:ALIAS]` and `arn:aws:lambda:…:function:NAME[:ALIAS]`.
pub(super) fn bare(name: &str) -> &str {
    let name = name.split_once(":function:").or_else(|| name.split_once("function:")).map_or(name, |(_, name)| name);
    name.split(':').next().unwrap_or(name)
}

/// The ARN of a function that is called `name`.
pub(crate) fn arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}")
}

/// The last part of the path of a function's code; not what only a tool calls it, as an asset of the CDK and an archive.
pub(super) fn folder(function: &Function) -> Option<&str> {
    let name = function.code.as_deref()?.file_name()?.to_str()?;
    (!name.starts_with("asset.") && !name.ends_with(".zip")).then_some(name)
}

fn is_only(functions: &IndexMap<String, Function>, name: &str, name_of: fn(&Function) -> Option<&str>) -> bool {
    functions.values().filter(|function| name_of(function) == Some(name)).count() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, code: Option<&str>) -> Function {
        Function::new(name, code.map(Into::into))
    }

    #[test]
    fn a_function_is_found_by_id_name_folder_and_arn() {
        let mut stack = Stack::default();
        stack.functions.insert("NotifierFunction".into(), function("prod-notifier", Some("/app/functions/notifier")));
        let names = Names::new(&stack);
        for name in [
            "NotifierFunction",
            "prod-notifier",
            "notifier",
            "notifier:live",
            "123456789012:function:notifier",
            "arn:aws:lambda:us-east-1:123456789012:function:prod-notifier",
            "arn:aws:lambda:eu-west-1:1:function:prod-notifier:$LATEST",
        ] {
            assert_eq!(names.resolve(name), Some("NotifierFunction"), "{name}");
        }
        assert_eq!(names.resolve("other"), None);
        assert_eq!(names.label("NotifierFunction"), "notifier");
    }

    #[test]
    fn a_shared_folder_is_no_label() {
        let mut stack = Stack::default();
        stack.functions.insert("A".into(), function("A", Some("/app/src")));
        stack.functions.insert("B".into(), function("B", Some("/app/src")));
        let names = Names::new(&stack);
        assert_eq!((names.label("A"), names.label("B")), ("A", "B"));
    }

    #[test]
    fn what_only_a_tool_calls_it_is_no_label() {
        let mut stack = Stack::default();
        stack.functions.insert("Cdk".into(), function("A", Some("/app/cdk.out/asset.67906be9435d2bcb")));
        stack.functions.insert("Osls".into(), function("B", Some("/app/.serverless/chat.zip")));
        let names = Names::new(&stack);
        assert_eq!((names.label("Cdk"), names.label("Osls")), ("Cdk", "Osls"));
    }

    #[test]
    fn functions_of_one_package_are_called_like_their_binaries() {
        let mut stack = Stack::default();
        for (id, binary) in [("Prices", "prices"), ("One/Notify", "notifier"), ("Two/Notify", "notifier")] {
            let function = Function { binary: Some(binary.into()), ..function(id, Some("/app")) };
            stack.functions.insert(id.into(), function);
        }
        let names = Names::new(&stack);
        let labels = ["Prices", "One/Notify", "Two/Notify"].map(|id| names.label(id));
        assert_eq!(labels, ["prices", "One/Notify", "Two/Notify"]);
        assert_eq!((names.resolve("prices"), names.resolve("notifier")), (Some("Prices"), Some("One/Notify")));
    }
}
