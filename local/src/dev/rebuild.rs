//! Changed sources are live again within seconds.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinHandle;

use crate::lambda::build::{Options, Plan, Watch};
use crate::lambda::{Host, Logs};

/// Watches the sources; builds when they change and swaps the functions whose programs are new.
pub(super) fn on_change(plan: Plan, release: bool, host: Arc<Host>, logs: Arc<Logs>) -> JoinHandle<()> {
    let watch = Watch::new(&plan.roots());
    tokio::spawn(async move {
        match watch {
            Ok(watch) => run(watch, &plan, release, &host, &logs).await,
            Err(error) => {
                logs.warn(&format!("{error}, so restart after changes: {}", crate::error::causes(&error)));
            }
        }
    })
}

async fn run(mut watch: Watch, plan: &Plan, release: bool, host: &Host, logs: &Arc<Logs>) {
    loop {
        watch.changed().await;
        let started = Instant::now();
        let programs = match plan.build(Options { release, quiet: true }, logs).await {
            Ok(programs) => programs,
            Err(error) => {
                logs.error(&format!("{error}; the functions go on as they were"));
                continue;
            }
        };
        let changed = host.install(programs).await;
        if changed.is_empty() {
            continue;
        }
        match host.warm().await {
            Ok(()) => {
                let names: Vec<_> = changed.iter().map(|id| host.label(id)).collect();
                logs.say(&format!("live again after {:.1} s: {}", started.elapsed().as_secs_f64(), names.join(", ")));
            }
            Err(error) => logs.error(&error.to_string()),
        }
    }
}
