//! Figures as a table, for people and for the documentation.

use super::figures::Figures;

const COLUMNS: [&str; 16] = [
    "scenario",
    "seed",
    "lost",
    "letters",
    "closed",
    "twice %",
    "429 %",
    "worst s %",
    "others %",
    "peak/s",
    "of bound",
    "done s",
    "burnt",
    "invokes/s",
    "posts/s",
    "row/s",
];

/// The table's head, in Markdown.
#[must_use]
pub fn head() -> String {
    let line = row(&COLUMNS.map(str::to_owned));
    let rule: Vec<_> =
        COLUMNS.iter().enumerate().map(|(index, name)| "-".repeat(width(index, name) + 1) + ":").collect();
    format!("{line}\n|{}|", rule.join("|").replacen("-:", "--", 1))
}

/// One run, as a line of it.
#[must_use]
pub fn line(figures: &Figures) -> String {
    let percent = |share: f64| format!("{:.2}", share * 100.0);
    let posts = figures.posts.len() as f64;
    row(&[
        figures.name.to_owned(),
        figures.seed.to_string(),
        figures.lost.to_string(),
        figures.letters.to_string(),
        figures.closed.len().to_string(),
        percent(figures.duplicates()),
        percent(figures.refused(0.0, f64::MAX)),
        percent(figures.worst_second(0.0, f64::MAX)),
        percent(figures.others_refused),
        figures.peak().to_string(),
        format!("{:.2}", figures.of_bound()),
        format!("{:.1}", figures.done),
        figures.burnt.to_string(),
        format!("{:.1}", figures.invocations.len() as f64 / figures.length()),
        format!("{:.0}", posts / figures.length()),
        figures.rate_writes.to_string(),
    ])
}

fn row(cells: &[String; COLUMNS.len()]) -> String {
    let cells: Vec<_> = cells
        .iter()
        .enumerate()
        .map(|(index, cell)| {
            let width = width(index, COLUMNS[index]);
            if index == 0 { format!(" {cell:<width$} ") } else { format!(" {cell:>width$} ") }
        })
        .collect();
    format!("|{}|", cells.join("|"))
}

fn width(index: usize, name: &str) -> usize {
    if index == 0 { 22 } else { name.len().max(6) }
}
