//! `tidings new`, `tidings template` and `tidings upgrade`: an application in its own repository.

use std::borrow::Cow;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Component, Path, PathBuf};

use clap::Args;

use super::{Failure, status};
use crate::scaffold::{self, File, Kind, Source, VERSION};

/// Write a new application into a folder of its name: your actions, your template that nests the toolkit's, a test.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings new shop --path ../tidings                    with the crates of a clone of the toolkit
  tidings new shop --git https://example.com/tidings    with those of a repository, at the tag of this version
  tidings new talk --template chat --path ../tidings    a chat with a page
  tidings new shop --template orders --path ../tidings  customers with keys, and orders that tell how they go
  tidings new --list                                    what can be written")]
pub(super) struct NewArguments {
    /// What the application, its crate and its stack are called.
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// What to begin with.
    #[arg(long, value_enum, default_value = "minimal")]
    template: Kind,
    /// Print what can be written, and write nothing.
    #[arg(long)]
    list: bool,
    /// Depend on the crates of a clone of the toolkit's repository. One that is relative, to where you are, stays so: in
    /// `Cargo.toml` it is relative to the application.
    #[arg(long, value_name = "CLONE", conflicts_with = "git")]
    path: Option<PathBuf>,
    /// Depend on the crates of a repository, at the tag of this version.
    #[arg(long, value_name = "URL")]
    git: Option<String>,
}

/// Write the template that applications nest, and nothing else.
///
/// With --plain it is CloudFormation without a transform, for the CDK, Terraform and others: its functions are in a bucket,
/// where the parameters CodeBucket and CodePrefix say. Files that nobody has changed are replaced, others never.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings template                       writes ./tidings/template.yaml, and beside it what it nests
  tidings template --output infra
  tidings template --plain               writes ./tidings/plain/template.yaml, and beside it what it nests
  tidings template --plain --retain      the same, with a table that outlives every stack
  aws s3 cp target/lambda s3://BUCKET/shop/1/ --recursive --exclude '*' --include '*/bootstrap.zip'
                                         puts the programs of `cargo lambda build --output-format zip` where CodeBucket=BUCKET
                                         CodePrefix=shop/1/ finds them")]
pub(super) struct TemplateArguments {
    /// The folder to write `tidings/` into.
    #[arg(long, default_value = ".")]
    output: PathBuf,
    /// Write plain CloudFormation, without SAM's transform.
    #[arg(long)]
    plain: bool,
    /// Keep the table when the stack is deleted, whatever a deployment says.
    #[arg(long, requires = "plain")]
    retain: bool,
}

/// Bring an application to this version of the toolkit: its crates and the template that it nests. What you changed in the
/// template stays.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings upgrade                        in the folder of the application
  tidings upgrade --check                says what would change, and changes nothing")]
pub(super) struct UpgradeArguments {
    /// The application's folder.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    /// Change nothing; exit with 1 if something would change.
    #[arg(long)]
    check: bool,
}

pub(super) fn new(arguments: NewArguments) -> Result<(), Failure> {
    if arguments.list {
        let lines = Kind::ALL.map(|(name, what)| format!("{name:<9} {what}\n"));
        return print(&lines.concat());
    }
    let name = arguments.name.unwrap_or_default();
    scaffold::check_name(&name).map_err(|error| Failure::new(&error))?;
    let source = source(arguments.path.as_deref(), arguments.git)?;
    let files = arguments.template.files(&name, &source);
    let pictures = arguments.template.pictures();
    write_anew(Path::new(&name), files.iter().map(File::bytes).chain(pictures.iter().copied()))?;
    status(&format!(
        "{name} is written: {} files. Your actions are in {name}/src/lib.rs, your resources in {name}/template.yaml.\n\n  \
         cd {name} && tidings dev\n  {}",
        files.len() + pictures.len(),
        arguments.template.next()
    ));
    Ok(())
}

fn source(path: Option<&Path>, git: Option<String>) -> Result<Source, Failure> {
    match (path, git) {
        (Some(path), _) => {
            if !path.join("shared/Cargo.toml").is_file() {
                let shown = path.display();
                return Err(Failure(format!(
                    "{shown} is no clone of the toolkit: there is no shared/Cargo.toml in it"
                )));
            }
            Ok(Source::Path(from_inside(path)))
        }
        (None, Some(url)) => Ok(Source::Git(url)),
        (None, None) => Err(Failure(
            "where do the crates come from? Give --path with a clone of the toolkit, or --git with its URL".to_owned(),
        )),
    }
}

/// A path as it is written in a folder of this one.
fn from_inside(path: &Path) -> String {
    if path.is_absolute() {
        return path.to_string_lossy().into_owned();
    }
    let parts = path.components().filter(|part| *part != Component::CurDir);
    let parts = parts.map(|part| part.as_os_str().to_string_lossy());
    // With slashes, which Cargo reads on every system.
    [Cow::Borrowed("..")].into_iter().chain(parts).collect::<Vec<_>>().join("/")
}

/// Writes all files or none: into a folder beside, which then gets its name.
fn write_anew<'a>(folder: &Path, files: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<(), Failure> {
    let is_free = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    if !is_free {
        let shown = folder.display();
        return Err(Failure(format!("{shown} is there already and not empty; choose another name, or remove it")));
    }
    let beside = folder.with_extension(format!("new-{}", std::process::id()));
    let written = write_all(&beside, files)
        .and_then(|()| fs::rename(&beside, folder).map_err(|error| cannot_write(folder, &error)));
    if written.is_err() {
        // It is of no use, and the failure is told.
        let _ = fs::remove_dir_all(&beside);
    }
    written
}

fn write_all<'a>(folder: &Path, files: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<(), Failure> {
    for (path, content) in files {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|error| cannot_write(parent, &error))?;
        fs::write(&path, content).map_err(|error| cannot_write(&path, &error))?;
    }
    Ok(())
}

pub(super) fn template(arguments: &TemplateArguments) -> Result<(), Failure> {
    let files = if arguments.plain { scaffold::plain(arguments.retain) } else { scaffold::nested() };
    for file in &files {
        let path = arguments.output.join(&file.path);
        match fs::read_to_string(&path) {
            Ok(there) => may_replace(&there, &file.text, arguments)
                .map_err(|reason| Failure(format!("{} {reason}", path.display())))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Failure(format!("{} is there and cannot be read: {error}", path.display()))),
        }
    }
    write_all(&arguments.output, files.iter().map(File::bytes))?;
    status(&format!("written: {}", files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>().join(", ")));
    Ok(())
}

/// Whether a file that is there may give way to a new one; else why not, and what to do.
fn may_replace(there: &str, new: &str, arguments: &TemplateArguments) -> Result<(), &'static str> {
    if there == new {
        return Ok(());
    }
    if !arguments.plain {
        return Err("is there and differs; `tidings upgrade` merges, or remove it first");
    }
    if !scaffold::is_as_written(there) {
        return Err("is there and was changed; move it away, or choose another folder by --output");
    }
    // A stack would begin an empty table.
    if scaffold::is_retaining(there) && !arguments.retain {
        return Err("keeps the table; give --retain again, or remove it first");
    }
    Ok(())
}

pub(super) fn upgrade(arguments: &UpgradeArguments) -> Result<(), Failure> {
    let read = |path: &str| {
        let path = arguments.folder.join(path);
        fs::read_to_string(&path).map_err(|error| {
            Failure(format!("{} cannot be read ({error}); is this the folder of an application?", path.display()))
        })
    };
    let (mut changed, mut conflicts) = (Vec::new(), Vec::new());
    let mut write = |path: String, old: &str, text: String| {
        if old != text {
            changed.push(File { path, text });
        }
    };
    for new in scaffold::nested() {
        let base_path = scaffold::base_of(&new.path);
        let (base, own) = (read(&base_path)?, read(&new.path)?);
        if own.contains("<<<<<<< ") {
            return Err(Failure(format!("{} still has `<<<<<<<` of an earlier upgrade; settle that first", new.path)));
        }
        let merged = diffy::merge(&base, &own, &new.text).unwrap_or_else(|marked| {
            conflicts.push(new.path.clone());
            marked
        });
        write(new.path.clone(), &own, merged);
        write(base_path, &base, new.text);
    }
    let manifest = read("Cargo.toml")?;
    write("Cargo.toml".to_owned(), &manifest, scaffold::upgraded(&manifest));
    if changed.is_empty() {
        status(&format!("everything is of version {VERSION} already"));
        return Ok(());
    }
    let names: Vec<_> = changed.iter().map(|file| file.path.as_str()).filter(|path| !path.contains(".base")).collect();
    if arguments.check {
        return Err(Failure(format!("these would change: {}", names.join(", "))));
    }
    write_all(&arguments.folder, changed.iter().map(File::bytes))?;
    status(&format!("now of version {VERSION}: {}", names.join(", ")));
    match conflicts.as_slice() {
        [] => Ok(()),
        files => Err(Failure(format!(
            "your change and the toolkit's meet in {}: look for `<<<<<<<`, as after a merge in git; nothing is lost",
            files.join(", ")
        ))),
    }
}

fn print(text: &str) -> Result<(), Failure> {
    anstream::stdout().write_all(text.as_bytes()).map_err(|error| Failure::new(&error))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure(format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_template_replaces_what_was_written_and_nothing_that_was_changed() {
        let folder = tempfile::tempdir().unwrap();
        let written = |plain, retain| {
            let arguments = TemplateArguments { output: folder.path().to_owned(), plain, retain };
            template(&arguments).map_err(|failure| failure.0)
        };
        let path = folder.path().join("tidings/plain/template.yaml");
        for retain in [false, false, true, true] {
            assert_eq!(written(true, retain), Ok(()));
        }
        let refused = written(true, false).unwrap_err();
        assert!(refused.contains("tidings/plain/template.yaml keeps the table; give --retain"), "{refused}");

        let changed = fs::read_to_string(&path).unwrap().replace("Default: dev\n", "Default: live\n");
        fs::write(&path, &changed).unwrap();
        let refused = written(true, true).unwrap_err();
        assert!(refused.contains("was changed; move it away"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), changed);
        assert_eq!(written(false, false), Ok(()), "the template with a transform has a place of its own");
    }

    #[test]
    fn a_relative_path_is_written_as_the_application_sees_it() {
        for (given, written) in [
            ("../tidings", "../../tidings"),
            ("..", "../.."),
            (".", ".."),
            ("./a/./b/", "../a/b"),
            ("/opt/tidings", "/opt/tidings"),
        ] {
            assert_eq!(from_inside(Path::new(given)), written);
        }
    }

    fn upgraded(folder: &Path) -> Result<(), String> {
        upgrade(&UpgradeArguments { folder: folder.to_owned(), check: false }).map_err(|failure| failure.0)
    }

    #[test]
    fn an_upgrade_keeps_what_was_changed_and_shows_where_both_did() {
        let folder = tempfile::tempdir().unwrap();
        let files = Kind::Minimal.files("shop", &Source::Git("https://example.com/t".to_owned()));
        write_all(folder.path(), files.iter().map(File::bytes)).unwrap();
        let [own, base] = ["tidings/template.yaml", "tidings/.base/template.yaml"].map(|path| folder.path().join(path));
        let new = fs::read_to_string(&own).unwrap();
        let old = new.replacen(&format!("# Tidings {VERSION}"), "# Tidings 0.0.9", 1);
        fs::write(&base, &old).unwrap();
        fs::write(&own, old.replace("Default: dev\n", "Default: live\n")).unwrap();
        upgraded(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(&own).unwrap(), new.replace("Default: dev\n", "Default: live\n"));
        assert_eq!(fs::read_to_string(&base).unwrap(), new);

        fs::write(&base, &old).unwrap();
        fs::write(&own, old.replacen("# Tidings 0.0.9", "# Mine", 1)).unwrap();
        assert!(upgraded(folder.path()).unwrap_err().contains("`<<<<<<<`"));
        let merged = fs::read_to_string(&own).unwrap();
        assert!(merged.contains("# Mine") && merged.contains(&format!("# Tidings {VERSION}")), "{merged}");
        assert!(upgraded(folder.path()).unwrap_err().contains("settle that first"));
        assert_eq!(fs::read_to_string(&own).unwrap(), merged);
    }
}
