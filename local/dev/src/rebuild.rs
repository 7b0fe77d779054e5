//! Changed sources are live again within seconds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;

use tidings_local_lambda::build::{Options, Plan, Watch};
use tidings_local_lambda::{Host, Logs};
use tidings_local_stack::Stack;

use super::DevOptions;

/// Watches the sources; builds when they change and swaps the functions whose programs are new.
pub(super) fn on_change(plan: Plan, options: &DevOptions, stack: &Stack, host: Arc<Host>) -> JoinHandle<()> {
    let (release, logs) = (options.release, Arc::clone(&options.logs));
    let without_defaults = options.without_defaults.clone();
    let real = |file: &PathBuf| (file.canonicalize().unwrap_or_else(|_| file.clone()), file.clone());
    let templates: BTreeMap<_, _> = stack.templates.iter().map(real).collect();
    let watch = Watch::new(&plan.roots(), &templates.keys().cloned().collect::<Vec<_>>());
    let main = options.template.clone();
    tokio::spawn(async move {
        match watch {
            Ok(watch) => {
                let rebuild = Rebuild { plan, release, without_defaults, main, templates, host, logs };
                rebuild.run(watch).await;
            }
            Err(error) => {
                logs.warn(&format!("{}; restart after changes", tidings::describe(&error)));
            }
        }
    })
}

struct Rebuild {
    plan: Plan,
    release: bool,
    without_defaults: Option<PathBuf>,
    main: PathBuf,
    /// All templates: where they are, and what people are told.
    templates: BTreeMap<PathBuf, PathBuf>,
    host: Arc<Host>,
    logs: Arc<Logs>,
}

impl Rebuild {
    async fn run(self, mut watch: Watch) {
        loop {
            let mut changed = watch.changed().await;
            for (_, shown) in self.templates.iter().filter(|(real, _)| changed.remove(*real)) {
                let nested = if *shown == self.main { String::new() } else { format!(" {}", shown.display()) };
                self.logs.warn(&format!("the template{nested} has changed: restart to run it as it is now"));
            }
            if !changed.is_empty() {
                self.rebuild().await;
            }
        }
    }

    async fn rebuild(&self) {
        let (logs, started) = (&self.logs, Instant::now());
        let without_defaults = self.without_defaults.as_deref();
        let options = Options { release: self.release, quiet: true, without_defaults };
        let programs = match self.plan.build(options, logs).await {
            Ok(programs) => programs,
            Err(error) => return logs.error(&format!("{error}; the functions go on as they were")),
        };
        let mut changed = self.host.install(programs).await;
        changed.extend(self.host.install(self.plan.scripts()).await);
        if changed.is_empty() {
            return;
        }
        match self.host.warm().await {
            Ok(()) => {
                let names: Vec<_> = changed.iter().map(|id| self.host.label(id)).collect();
                logs.say(&format!("live again after {:.1} s: {}", started.elapsed().as_secs_f64(), names.join(", ")));
            }
            Err(error) => logs.error(&error.to_string()),
        }
    }
}
