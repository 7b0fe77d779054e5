//! Reads the imports of every crate: no files take from one another in a circle.
//!
//! An import counts as one of the file that defines the name, however it is passed on. A module may use what the modules
//! around it define, as Rust's own privacy has it: those are one thing, and the outer file is its front. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use regex_lite::Regex;
use tests::stack::root;

use super::{code, files};

/// Where the tests of a file begin.
pub(super) static TESTS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"#\[cfg\(test\)\]\s*(?:pub(?:\([a-z]+\))? )?mod \w+ \{").unwrap());
static DEFINITION: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?m)^(?:pub(?:\([^)]*\))? )?(?:async |const |unsafe )*(?:fn|struct|enum|trait|type|const|static) (\w+)",
    )
    .unwrap()
});
static IMPORT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?m)^\s*(?:pub(?:\([^)]*\))? )?use ([^;]+);").unwrap());
static PATH: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b(?:\w+::)+\w+").unwrap());

/// A module by its path in the crate.
type Name = Vec<String>;

struct Module {
    definitions: BTreeSet<String>,
    /// Every `use`, one name each.
    imports: Vec<String>,
    /// Paths that stand in the code itself.
    paths: Vec<String>,
}

struct Crate(BTreeMap<Name, Module>);

impl Module {
    fn read(text: &str) -> Self {
        let text = code(text);
        let text = TESTS.find(&text).map_or(text.as_str(), |found| &text[..found.start()]);
        Self {
            definitions: DEFINITION.captures_iter(text).map(|found| found[1].to_owned()).collect(),
            imports: imported(text),
            paths: PATH.find_iter(&IMPORT.replace_all(text, "")).map(|found| found.as_str().to_owned()).collect(),
        }
    }

    /// Everything that it names, with the paths that begin with an imported name written out.
    fn named(&self) -> Vec<String> {
        let written_out = self.paths.iter().map(|path| {
            let (first, rest) = path.split_once("::").unwrap_or((path, ""));
            let import = self.imports.iter().find(|import| last(import) == first);
            import.map_or_else(|| path.clone(), |import| format!("{import}::{rest}"))
        });
        self.imports.iter().cloned().chain(written_out).collect()
    }
}

/// What a file imports, one name each.
pub(super) fn imported(text: &str) -> Vec<String> {
    IMPORT.captures_iter(text).flat_map(|found| names(&found[1])).collect()
}

/// The names of a `use`: `a::{b, c::d}` are two.
fn names(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        return vec![tree.split(" as ").next().unwrap_or_default().to_owned()];
    };
    let (before, inside) = (&tree[..open], &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())]);
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for letter in inside.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(letter);
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| names(part)).map(|name| format!("{before}{name}")).collect()
}

fn last(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

impl Crate {
    fn read(sources: &Path) -> Self {
        let modules = files(sources, &["rs"]).into_iter().filter_map(|file| {
            let path = file.strip_prefix(sources).unwrap().with_extension("");
            let name: Name = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            let is_test = |part: &String| ["tests", "testing", "fuzzing", "main"].contains(&part.as_str());
            let name = if name == ["lib"] { Vec::new() } else { name };
            (!name.iter().any(is_test)).then(|| (name, Module::read(&std::fs::read_to_string(file).unwrap())))
        });
        Self(modules.collect())
    }

    /// The module that defines what a path names, as it is seen in another module.
    fn definition(&self, seen_in: &Name, path: &str, followed: usize) -> Option<Name> {
        let mut parts = path.split("::").map(str::trim).peekable();
        let mut module = match *parts.peek()? {
            "crate" => Vec::new(),
            "self" | "super" => seen_in.clone(),
            first => {
                let child: Name = seen_in.iter().cloned().chain([first.to_owned()]).collect();
                if !self.0.contains_key(&child) {
                    return None;
                }
                seen_in.clone()
            }
        };
        while let Some(part) = parts.next_if(|part| ["crate", "self", "super"].contains(part)) {
            if part == "super" {
                module.pop();
            }
        }
        let mut name = None;
        for part in parts {
            module.push(part.to_owned());
            if !self.0.contains_key(&module) {
                name = module.pop();
                break;
            }
        }
        let (name, found) = (name?, self.0.get(&module)?);
        if found.definitions.contains(&name) {
            return Some(module);
        }
        // Passed on from elsewhere; nobody does that in a circle.
        let passed_on = found.imports.iter().filter(|import| followed < 8 && last(import) == name);
        passed_on.into_iter().find_map(|import| self.definition(&module, import, followed + 1))
    }

    /// Which modules a module takes from, its surroundings left out.
    fn takes_from(&self, name: &Name) -> BTreeSet<Name> {
        let named = self.0[name].named();
        let definitions = named.iter().filter_map(|path| self.definition(name, path, 0));
        definitions.filter(|other| !name.starts_with(other)).collect()
    }

    /// The modules that stand on nobody but on one another: what is left when those are taken away, again and again, that
    /// take from none of the rest, or that none of the rest takes from.
    fn circles(&self) -> BTreeMap<Name, BTreeSet<Name>> {
        let mut rest: BTreeMap<Name, BTreeSet<Name>> =
            self.0.keys().map(|name| (name.clone(), self.takes_from(name))).collect();
        loop {
            let before = rest.len();
            let taken: BTreeSet<Name> = rest.values().flatten().cloned().collect();
            rest.retain(|name, from| !from.is_empty() && taken.contains(name));
            let left: BTreeSet<Name> = rest.keys().cloned().collect();
            for from in rest.values_mut() {
                from.retain(|name| left.contains(name));
            }
            if rest.len() == before && rest.values().all(|from| !from.is_empty()) {
                return rest;
            }
        }
    }
}

#[test]
fn no_files_take_from_one_another_in_a_circle() {
    let root = root();
    let manifests = files(&root, &["toml"]).into_iter().filter(|file| file.ends_with("Cargo.toml"));
    let sources: Vec<_> = manifests.map(|file| file.with_file_name("src")).filter(|folder| folder.is_dir()).collect();
    assert!(sources.len() > 15, "{sources:?}");
    for folder in sources {
        assert_eq!(Crate::read(&folder).circles(), BTreeMap::new(), "{}", folder.display());
    }
}

#[test]
fn a_circle_is_found_through_what_is_passed_on() {
    let module = |text: &str| Module::read(text);
    let circle = Crate(BTreeMap::from([
        (Vec::new(), module("mod a;\nmod b;\npub use a::A;")),
        (vec!["a".to_owned()], module("use crate::b::B;\npub struct A(B);")),
        (vec!["b".to_owned()], module("use super::{A, c::C};\npub struct B(Box<A>);")),
    ]));
    assert_eq!(circle.circles().into_keys().collect::<Vec<_>>(), [["a"], ["b"]]);
    let line = Crate(BTreeMap::from([
        (vec!["a".to_owned()], module("use crate::b;\npub fn a() { b::b() }")),
        (
            vec!["b".to_owned()],
            module("/// As [`crate::a::a`].\npub fn b() {}\n#[cfg(test)]\nmod tests {\n    use crate::a::a;\n}"),
        ),
    ]));
    assert_eq!(line.circles(), BTreeMap::new());
}
