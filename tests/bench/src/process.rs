//! Programs that are measured: their processor time and memory, as Linux tells them in `/proc`.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::Result;

/// Nanoseconds in one tick of `/proc/<pid>/stat`: the kernel shows 100 in a second on every common machine.
const TICK: u64 = 10_000_000;

/// A running program; it ends with this value.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    id: u32,
}

impl Program {
    /// Starts it with this environment and nothing else. What it writes goes to a file that tells why it failed.
    pub(crate) fn start(command: &[OsString], environment: &[(String, String)], log: &Path) -> Result<Self> {
        let mut start = prepare(command, environment)?;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        start.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Self::spawn(start)
    }

    /// Starts it to talk with through its standard input and output.
    pub(crate) fn converse(command: &[OsString], environment: &[(String, String)]) -> Result<Self> {
        let mut start = prepare(command, environment)?;
        start.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self::spawn(start)
    }

    pub(crate) fn spawn(mut command: Command) -> Result<Self> {
        let child = command.kill_on_drop(true).spawn().map_err(|error| format!("cannot start {command:?}: {error}"))?;
        let id = child.id().ok_or("the program is gone already")?;
        Ok(Self { child, id })
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Processor time so far, of all its threads.
    pub(crate) fn cpu(&self) -> Duration {
        cpu(self.id)
    }

    /// The most memory that it has held so far, in bytes.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        status(self.id, "VmHWM:")
    }

    /// The memory that it holds now, in bytes.
    pub(crate) fn memory(&self) -> Result<u64> {
        status(self.id, "VmRSS:")
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Ends it and waits for that.
    pub(crate) async fn stop(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Asks it to end and waits for that.
    pub(crate) async fn finish(mut self) -> Result<()> {
        if let Some(id) = i32::try_from(self.id).ok().and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        }
        self.child.wait().await?;
        Ok(())
    }
}

fn prepare(command: &[OsString], environment: &[(String, String)]) -> Result<Command> {
    let (program, arguments) = command.split_first().ok_or("no program")?;
    let mut start = Command::new(program);
    start.args(arguments).env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
    Ok(start)
}

/// Processor time of a process. Its threads' own counters are exact but forget threads that have ended; the process's
/// counter remembers them and is coarse.
pub(crate) fn cpu(id: u32) -> Duration {
    let exact: u64 = threads(id).map(|folder| on_cpu(&folder).unwrap_or_default()).sum();
    let coarse = ticks(id).unwrap_or_default() * TICK;
    Duration::from_nanos(if coarse > exact + 2 * TICK { coarse } else { exact })
}

fn threads(id: u32) -> impl Iterator<Item = std::path::PathBuf> {
    std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

fn on_cpu(thread: &Path) -> Option<u64> {
    std::fs::read_to_string(thread.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
}

fn ticks(id: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name in parentheses may hold anything; user and system time are the 12th and 13th word behind it.
    let mut words = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(words.next()?.parse::<u64>().ok()? + words.next()?.parse::<u64>().ok()?)
}

fn status(id: u32, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("the system does not tell the memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
}

/// Processes that a process has started, and theirs.
pub(crate) fn descendants(id: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for thread in threads(id) {
        let children = std::fs::read_to_string(thread.join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            found.push(child);
            found.extend(descendants(child));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_has_used_the_processor_and_memory() {
        let before = cpu(std::process::id());
        let begin = std::time::Instant::now();
        while begin.elapsed() < Duration::from_millis(30) {
            std::hint::black_box(begin);
        }
        assert!(cpu(std::process::id()) > before);
        assert!(status(std::process::id(), "VmHWM:").unwrap() > 100_000);
    }
}
