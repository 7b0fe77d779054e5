//! Ends processes of functions in the middle of their work.

use fastrand::Rng;

/// Kills one of the processes in whose environment there is a variable for each of these beginnings, as `NAME=` or
/// `NAME=value`, with the signal that nobody can catch. Returns how many were killed; on systems without `/proc` none is.
///
/// # Panics
/// When there is no program `kill`.
pub fn kill_one(variables: &[&str], rng: &mut Rng) -> usize {
    let Ok(processes) = std::fs::read_dir("/proc") else { return 0 };
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let ours: Vec<_> = numbers.filter(|number| has_all(*number, variables)).collect();
    let Some(victim) = rng.choice(ours) else { return 0 };
    let killed = std::process::Command::new("kill").args(["-9", &victim.to_string()]).status().unwrap();
    usize::from(killed.success())
}

fn has_all(process: u32, variables: &[&str]) -> bool {
    // A process may have ended, or be somebody else's.
    let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
    let has = |variable: &&str| environment.split(|byte| *byte == 0).any(|own| own.starts_with(variable.as_bytes()));
    variables.iter().all(has)
}
