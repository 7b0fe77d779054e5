//! What an application in its own repository begins with, and how it keeps up with new versions. Pure: texts in, texts out.

mod plain;

use std::fmt::Write;

pub(crate) use plain::{is_as_written, is_retaining, plain};

/// The template that applications nest, and the alarms and the distribution that it nests itself.
const TEMPLATE: &str = include_str!("../scaffold/template.yaml");
const OPERATIONS: &str = include_str!("../scaffold/operations.yaml");
const FRONT: &str = include_str!("../scaffold/front.yaml");

/// The crates that an application depends on, and the folder of each in this repository.
pub(crate) const CRATES: [(&str, &str); 8] = [
    ("tidings", "shared"),
    ("tidings-api", "functions/api"),
    ("tidings-authorizer", "functions/authorizer"),
    ("tidings-connect", "functions/connect"),
    ("tidings-default", "functions/default"),
    ("tidings-disconnect", "functions/disconnect"),
    ("tidings-notifier", "functions/notifier"),
    ("tidings-test", "local/test"),
];

/// The version of the toolkit that this program belongs to.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One file of an application: where, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// Its path in the application.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

impl File {
    /// Where, and what, as it is written.
    pub(crate) fn bytes(&self) -> (&str, &[u8]) {
        (&self.path, self.text.as_bytes())
    }
}

/// Where an application's crates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A clone of this repository on this machine, absolute or as seen from the application's folder.
    Path(String),
    /// A repository, at the tag of this version.
    Git(String),
}

/// What can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// An action, a table whose changes are sent to a topic, and an action that reads it.
    Minimal,
    /// Rooms, names, and who is typing, with a page.
    Chat,
    /// A shop: customers with keys, orders in a table whose changes reach the customer, with a page.
    Orders,
}

impl Kind {
    /// Every one, with what it is.
    pub(crate) const ALL: [(&str, &str); 3] = [
        ("minimal", "an action, a table whose changes are sent to a topic, and an action that reads it"),
        ("chat", "rooms, names, and who is typing, with a page"),
        ("orders", "a shop: customers with keys, orders in a table whose changes reach the customer, with a page"),
    ];

    /// What a new application's terminal is told to do next.
    pub(crate) fn next(self) -> &'static str {
        match self {
            Self::Minimal => "tidings listen --topic items      (in another terminal)",
            Self::Chat => "then open web/index.html in two windows",
            Self::Orders => "cargo run --example shop          (in another terminal; then open web/index.html)",
        }
    }

    /// Its own texts. One at the path of what every application has stands in its place.
    fn own(self) -> Texts {
        match self {
            Self::Minimal => MINIMAL,
            Self::Chat => CHAT,
            Self::Orders => ORDERS,
        }
    }

    /// What it shows in its README, by path.
    pub(crate) fn pictures(self) -> &'static [(&'static str, &'static [u8])] {
        match self {
            Self::Minimal => &[],
            Self::Chat => &[
                ("web/screenshot.png", include_bytes!("../scaffold/chat/web/screenshot.png")),
                ("web/recovered.png", include_bytes!("../scaffold/chat/web/recovered.png")),
            ],
            Self::Orders => &[("web/screenshot.png", include_bytes!("../scaffold/orders/web/screenshot.png"))],
        }
    }

    /// Lines of its `[dependencies]` beside those that every application has.
    fn dependencies(self) -> &'static str {
        match self {
            Self::Minimal | Self::Chat => "",
            Self::Orders => "sha2 = \"0.11\"\n",
        }
    }
}

/// Why an application cannot be called so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidName {
    /// Cargo would not take it.
    #[error(
        "{0:?} cannot name a crate: begin with a lower-case letter, and go on with at most 63 of them, digits, `-` and `_`"
    )]
    Spelling(String),
    /// Rust or Cargo has it already.
    #[error("{0:?} is a word of Rust or Cargo; give it another name")]
    Reserved(String),
}

const RESERVED: [&str; 16] = [
    "alloc",
    "build",
    "const",
    "core",
    "crate",
    "deps",
    "examples",
    "fn",
    "incremental",
    "main",
    "proc_macro",
    "self",
    "std",
    "super",
    "test",
    "tidings",
];

/// Checks the name of an application.
pub(crate) fn check_name(name: &str) -> Result<(), InvalidName> {
    let follows = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_".contains(letter);
    let is_spelled = name.starts_with(|first: char| first.is_ascii_lowercase()) && name.chars().all(follows);
    if !is_spelled || name.len() > 64 {
        return Err(InvalidName::Spelling(name.to_owned()));
    }
    if RESERVED.contains(&name) {
        return Err(InvalidName::Reserved(name.to_owned()));
    }
    Ok(())
}

impl Kind {
    /// All that stands in a new application.
    pub(crate) fn files(self, name: &str, source: &Source) -> Vec<File> {
        let own = self.own();
        let is_replaced = |path| own.iter().any(|(other, _)| *other == path);
        let crate_name = name.replace('-', "_");
        let mut files: Vec<File> = COMMON
            .iter()
            .filter(|(path, _)| !is_replaced(*path))
            .chain(own)
            .map(|(path, text)| {
                let text = text.replace("@name@", name).replace("@dependencies@\n", self.dependencies());
                let mut text = text.replace("{crate}", &crate_name);
                for (dependency, folder) in CRATES {
                    text = text.replace(&format!("{{{dependency}}}"), &source.of(folder));
                }
                File { path: (*path).to_owned(), text }
            })
            .collect();
        files.extend(nested());
        files.extend(nested().into_iter().map(|file| File { path: base_of(&file.path), ..file }));
        files
    }
}

type Texts = &'static [(&'static str, &'static str)];

/// What every application has.
const COMMON: Texts = &[
    ("Cargo.toml", include_str!("../scaffold/common/Cargo.toml.in")),
    (".gitignore", include_str!("../scaffold/common/gitignore.in")),
    ("samconfig.toml", include_str!("../scaffold/common/samconfig.toml.in")),
    (".github/workflows/ci.yaml", include_str!("../scaffold/common/ci.yaml.in")),
    ("src/bin/api.rs", include_str!("../scaffold/common/src/bin/api.rs.in")),
    ("src/bin/authorizer.rs", include_str!("../scaffold/common/src/bin/authorizer.rs.in")),
    ("src/bin/connect.rs", include_str!("../scaffold/common/src/bin/connect.rs.in")),
    ("src/bin/disconnect.rs", include_str!("../scaffold/common/src/bin/disconnect.rs.in")),
    ("src/bin/notifier.rs", include_str!("../scaffold/common/src/bin/notifier.rs.in")),
];

const MINIMAL: Texts = &[
    ("README.md", include_str!("../scaffold/minimal/README.md.in")),
    ("template.yaml", include_str!("../scaffold/minimal/template.yaml.in")),
    ("src/lib.rs", include_str!("../scaffold/minimal/src/lib.rs.in")),
    ("src/bin/default.rs", include_str!("../scaffold/minimal/src/bin/default.rs.in")),
    ("tests/actions.rs", include_str!("../scaffold/minimal/tests/actions.rs.in")),
    ("tests/stack.rs", include_str!("../scaffold/minimal/tests/stack.rs.in")),
];

const CHAT: Texts = &[
    ("README.md", include_str!("../scaffold/chat/README.md.in")),
    ("template.yaml", include_str!("../scaffold/chat/template.yaml.in")),
    ("src/lib.rs", include_str!("../scaffold/chat/src/lib.rs.in")),
    ("src/bin/default.rs", include_str!("../scaffold/chat/src/bin/default.rs.in")),
    ("tests/actions.rs", include_str!("../scaffold/chat/tests/actions.rs.in")),
    ("web/index.html", include_str!("../scaffold/chat/web/index.html.in")),
    ("web/centrifuge.html", include_str!("../scaffold/chat/web/centrifuge.html.in")),
    ("web/package.json", include_str!("../scaffold/chat/web/package.json.in")),
];

const ORDERS: Texts = &[
    ("README.md", include_str!("../scaffold/orders/README.md.in")),
    ("template.yaml", include_str!("../scaffold/orders/template.yaml.in")),
    ("src/lib.rs", include_str!("../scaffold/orders/src/lib.rs.in")),
    ("src/customers.rs", include_str!("../scaffold/orders/src/customers.rs.in")),
    ("src/orders.rs", include_str!("../scaffold/orders/src/orders.rs.in")),
    ("src/bin/authorizer.rs", include_str!("../scaffold/orders/src/bin/authorizer.rs.in")),
    ("src/bin/connect.rs", include_str!("../scaffold/orders/src/bin/connect.rs.in")),
    ("src/bin/default.rs", include_str!("../scaffold/orders/src/bin/default.rs.in")),
    ("tests/actions.rs", include_str!("../scaffold/orders/tests/actions.rs.in")),
    ("tests/hooks.rs", include_str!("../scaffold/orders/tests/hooks.rs.in")),
    ("examples/shop.rs", include_str!("../scaffold/orders/examples/shop.rs.in")),
    ("web/index.html", include_str!("../scaffold/orders/web/index.html.in")),
];

impl Source {
    /// The inside of the inline table of a dependency.
    fn of(&self, folder: &str) -> String {
        match self {
            Self::Path(clone) => format!("path = {:?}", format!("{clone}/{folder}")),
            Self::Git(url) => format!("git = {url:?}, tag = \"v{VERSION}\""),
        }
    }
}

/// The template that an application nests, as files of its folder `tidings`.
pub(crate) fn nested() -> Vec<File> {
    let mut template = format!(
        "# Tidings {VERSION}. Nested by your own template.yaml; `tidings upgrade` brings a new version and keeps what you change.\n"
    );
    for line in TEMPLATE.lines() {
        let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
        let line = match rest.split_once(": ") {
            // The functions are binaries of the application's one package.
            Some(("CodeUri", folder)) if folder.starts_with("functions/") => format!("{indent}CodeUri: .."),
            Some(("TemplateURL", path)) => format!("{indent}TemplateURL: {}", path.rsplit('/').next().unwrap_or(path)),
            _ => line.to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(template, "{line}");
    }
    vec![
        File { path: "tidings/template.yaml".to_owned(), text: template },
        File { path: "tidings/operations.yaml".to_owned(), text: OPERATIONS.to_owned() },
        File { path: "tidings/front.yaml".to_owned(), text: FRONT.to_owned() },
    ]
}

/// Where the copy of a nested file lies that `upgrade` merges from.
pub(crate) fn base_of(path: &str) -> String {
    path.replacen("tidings/", "tidings/.base/", 1)
}

/// A manifest whose crates of the toolkit are of this version. Those that come by path stay as they are.
pub(crate) fn upgraded(manifest: &str) -> String {
    let lines = manifest.split_inclusive('\n').map(|line| {
        let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
        let is_ours = CRATES.iter().any(|(known, _)| *known == name);
        if is_ours { with_version(line) } else { line.to_owned() }
    });
    lines.collect()
}

fn with_version(line: &str) -> String {
    for (key, value) in [("tag = \"v", VERSION), ("version = \"", VERSION)] {
        if let Some(begin) = line.find(key).map(|begin| begin + key.len())
            && let Some(length) = line.get(begin..).and_then(|rest| rest.find('"'))
        {
            return format!("{}{value}{}", &line[..begin], &line[begin + length..]);
        }
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file<'a>(files: &'a [File], path: &str) -> &'a str {
        &files.iter().find(|file| file.path == path).unwrap().text
    }

    #[test]
    fn an_application_names_itself_and_its_source_and_leaves_no_placeholder() {
        let files = Kind::Minimal.files("my-shop", &Source::Path("/clone".to_owned()));
        let manifest = file(&files, "Cargo.toml");
        assert!(manifest.contains("name = \"my-shop\""), "{manifest}");
        assert!(manifest.contains("tidings = { path = \"/clone/shared\", features"), "{manifest}");
        assert!(manifest.contains("tidings-default = { path = \"/clone/functions/default\" }"), "{manifest}");
        assert!(file(&files, "src/bin/default.rs").contains("my_shop::hello"));
        let page = Kind::Chat.files("talk", &Source::Path("/clone".to_owned()));
        assert!(file(&page, "web/index.html").contains("`${name} came in`"), "what is JavaScript's stays");
        let git = Kind::Minimal.files("shop", &Source::Git("https://example.com/t".to_owned()));
        assert!(file(&git, "Cargo.toml").contains(&format!("git = \"https://example.com/t\", tag = \"v{VERSION}\"")));
        let chat = Kind::Chat.files("my-chat", &Source::Path("/clone".to_owned()));
        let orders = Kind::Orders.files("my-orders", &Source::Path("/clone".to_owned()));
        let all = files.iter().chain(&chat).chain(&orders);
        for file in all.filter(|file| !file.path.starts_with("tidings/")) {
            for placeholder in ["@name@", "@dependencies@", "{crate}", "{tidings"] {
                assert!(!file.text.contains(placeholder), "{}: {placeholder}", file.path);
            }
        }
    }

    #[test]
    fn a_text_of_a_kinds_own_stands_in_the_place_of_the_common_one() {
        let files = Kind::Orders.files("shop", &Source::Path("/clone".to_owned()));
        assert_eq!(files.iter().filter(|file| file.path == "src/bin/connect.rs").count(), 1);
        assert!(file(&files, "src/bin/connect.rs").contains("use shop::welcome;"));
        assert!(file(&files, "Cargo.toml").contains("serde_json = \"1.0\"\nsha2 = \"0.11\"\ntidings = {"));
    }

    #[test]
    fn the_nested_template_takes_the_applications_binaries() {
        let files = nested();
        let template = file(&files, "tidings/template.yaml");
        assert_eq!(template.matches("CodeUri: ..\n").count(), 6);
        assert_eq!(template.matches("BuildProperties: { Binary: ").count(), 6);
        assert!(
            template.contains("TemplateURL: operations.yaml\n")
                && template.contains("TemplateURL: front.yaml\n")
                && !template.contains("CodeUri: functions/"),
            "{template}"
        );
        assert!(template.starts_with(&format!("# Tidings {VERSION}.")));
    }

    #[test]
    fn a_name_that_is_none_is_refused_with_what_to_do() {
        for name in ["shop", "my-shop_2", "x"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "Shop", "2shop", "my shop", "a/b", "../x", &"x".repeat(65)] {
            assert_eq!(check_name(name), Err(InvalidName::Spelling(name.to_owned())));
        }
        assert_eq!(check_name("test"), Err(InvalidName::Reserved("test".to_owned())));
    }

    #[test]
    fn an_upgrade_raises_the_toolkits_crates_and_nothing_else() {
        let old = "tidings = { git = \"u\", tag = \"v0.0.1\", features = [\"sdk\"] }\ntidings-default = { version = \"0.0.1\" }\n\
                   tidings-api = { path = \"/c\" }\nserde = { version = \"0.0.1\" }\n";
        let new = format!(
            "tidings = {{ git = \"u\", tag = \"v{VERSION}\", features = [\"sdk\"] }}\n\
             tidings-default = {{ version = \"{VERSION}\" }}\ntidings-api = {{ path = \"/c\" }}\nserde = {{ version = \"0.0.1\" }}\n"
        );
        assert_eq!(upgraded(old), new);
    }
}
