//! What goes wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::Plan;
use crate::about;
use crate::kill::kill_one;
use crate::proxy::Proxy;

/// Of ten connections that something happens to, so many are frozen, and half of these come back to life.
const FROZEN_OF_TEN: u32 = 2;
/// The longest time that a connection stays frozen.
const LONGEST_FREEZE: Duration = Duration::from_secs(6);

/// How often it did.
#[derive(Debug, Default)]
pub(super) struct Faults {
    cuts: AtomicU64,
    freezes: AtomicU64,
    kills: AtomicU64,
}

impl Faults {
    /// Cuts and freezes a client's connections until all is to be calm.
    pub(super) async fn trouble(
        self: Arc<Self>,
        proxy: Arc<Proxy>,
        plan: Plan,
        number: u64,
        calm: watch::Receiver<bool>,
    ) {
        let mut chance = plan.chance(number);
        while wait(&calm, about(plan.connection_life, &mut chance)).await {
            match chance.u32(..10) {
                kind if kind < FROZEN_OF_TEN => {
                    self.freezes.fetch_add(1, Ordering::Relaxed);
                    proxy.freeze();
                    wait(&calm, LONGEST_FREEZE.mul_f64(chance.f64())).await;
                    if kind % 2 == 0 {
                        proxy.cut();
                    }
                    proxy.thaw();
                }
                _ => {
                    self.cuts.fetch_add(1, Ordering::Relaxed);
                    proxy.cut();
                }
            }
        }
    }

    /// Kills processes of the notifier until all is to be calm.
    pub(super) async fn kill(self: Arc<Self>, dynamodb: String, plan: Plan, calm: watch::Receiver<bool>) {
        let Some(every) = plan.kill_every else { return };
        let mut chance = plan.chance(u64::MAX - 1);
        let table = format!("AWS_ENDPOINT_URL_DYNAMODB={dynamodb}");
        while wait(&calm, about(every, &mut chance)).await {
            // Nobody else has this variable.
            let killed = kill_one(&[&table, "FAN_OUT_CONCURRENCY="], &mut chance);
            self.kills.fetch_add(killed as u64, Ordering::Relaxed);
        }
    }

    /// Cuts, freezes and kills.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.cuts), read(&self.freezes), read(&self.kills))
    }
}

/// Waits; whether it is not calm yet.
async fn wait(calm: &watch::Receiver<bool>, time: Duration) -> bool {
    let mut calm = calm.clone();
    timeout(time, calm.wait_for(|calm| *calm)).await.is_err()
}
