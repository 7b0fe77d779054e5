//! The table that the bench prints: one line for each figure.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::stats::Samples;

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) figure: String,
    pub(crate) ours: Option<Measure>,
    /// What it is compared with, and what that measured.
    pub(crate) peer: Option<(String, Measure)>,
    ratio: Ratio,
    pub(crate) aim: Aim,
    /// Why something was not measured, or what a reader must know.
    pub(crate) note: Option<String>,
}

/// How ours and the peer's compare.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ratio {
    OfValues,
    /// The median of the ratios of all turns, where contenders took turns: a machine is not equally fast for minutes.
    OfTurns(f64),
    /// They do not.
    None,
}

/// A value with its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measure {
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Aim {
    /// There is none; the figure is told for its own sake.
    None,
    /// Ours divided by the peer's.
    RatioAtMost(f64),
    RatioAtLeast(f64),
    /// Ours, whatever others do.
    AtMost(f64),
}

impl Line {
    pub(crate) fn new(figure: impl Into<String>, value: f64, unit: &'static str) -> Self {
        let ours = Some(Measure { value, unit });
        Self { figure: figure.into(), ours, peer: None, ratio: Ratio::OfValues, aim: Aim::None, note: None }
    }

    /// A figure that could not be measured.
    pub(crate) fn missing(figure: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { note: Some(reason.into()), ours: None, ..Self::new(figure, 0.0, "") }
    }

    /// Compares it with a peer's, in the same unit.
    pub(crate) fn against(mut self, peer: impl Into<String>, value: f64) -> Self {
        let unit = self.ours.map_or("", |ours| ours.unit);
        self.peer = Some((peer.into(), Measure { value, unit }));
        self
    }

    /// What two contenders came to that took turns.
    pub(crate) fn of_turns(
        figure: impl Into<String>,
        unit: &'static str,
        ours: &Samples,
        peer: impl Into<String>,
        theirs: &Samples,
    ) -> Self {
        let line = Self::new(figure, ours.median(), unit).against(peer, theirs.median());
        let ratios = ours.ratios(theirs);
        if ratios.len() == 0 { line } else { Self { ratio: Ratio::OfTurns(ratios.median()), ..line } }
    }

    /// The peer's value is of another kind, such as a timer's beside a processor's.
    pub(crate) fn without_ratio(self) -> Self {
        Self { ratio: Ratio::None, ..self }
    }

    pub(crate) fn aim(self, aim: Aim) -> Self {
        Self { aim, ..self }
    }

    pub(crate) fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// Ours divided by the peer's.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let (ours, (_, peer)) = (self.ours?, self.peer.as_ref()?);
        match self.ratio {
            Ratio::OfValues => (peer.value != 0.0).then(|| ours.value / peer.value),
            Ratio::OfTurns(ratio) => Some(ratio),
            Ratio::None => None,
        }
    }

    /// Whether the aim is met; `None` where there is none, or something is missing.
    pub(crate) fn is_met(&self) -> Option<bool> {
        match self.aim {
            Aim::None => None,
            Aim::RatioAtMost(most) => Some(self.ratio()? <= most),
            Aim::RatioAtLeast(least) => Some(self.ratio()? >= least),
            Aim::AtMost(most) => Some(self.ours?.value <= most),
        }
    }

    fn verdict(&self) -> &'static str {
        match (self.is_met(), self.aim) {
            (Some(true), _) => "met",
            (Some(false), _) => "**missed**",
            (None, Aim::None) if self.ours.is_some() => "",
            (None, _) => "not measured",
        }
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "figure": self.figure,
            "value": self.ours.map(|ours| ours.value),
            "unit": self.ours.map(|ours| ours.unit),
            "peer": self.peer.as_ref().map(|(name, _)| name),
            "peerValue": self.peer.as_ref().map(|(_, peer)| peer.value),
            "ratio": self.ratio(),
            "aim": self.aim.text(),
            "met": self.is_met(),
            "note": self.note,
        })
    }
}

impl Measure {
    fn text(self) -> String {
        let space = if self.unit.is_empty() { "" } else { " " };
        format!("{}{space}{}", number(self.value), self.unit)
    }
}

impl Aim {
    fn text(self) -> String {
        match self {
            Self::None => String::new(),
            Self::RatioAtMost(most) => format!("ratio ≤ {}", number(most)),
            Self::RatioAtLeast(least) => format!("ratio ≥ {}", number(least)),
            Self::AtMost(most) => format!("≤ {}", number(most)),
        }
    }
}

/// Three significant digits, or a whole number; thousands set apart.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        size if size >= 0.01 => 3,
        _ => 5,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), ""), |(whole, fraction)| (whole, fraction));
    let mut grouped = String::new();
    for (index, digit) in whole.char_indices() {
        if index > 0 && (whole.len() - index) % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}

/// The table as Markdown.
pub(crate) fn markdown(lines: &[Line]) -> String {
    let mut text =
        "| figure | Tidings | peer | its value | ratio | aim | |\n| --- | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    let mut notes: Vec<&str> = Vec::new();
    for line in lines {
        let mark = line.note.as_deref().map(|note| {
            let place = notes.iter().position(|known| *known == note).unwrap_or_else(|| {
                notes.push(note);
                notes.len() - 1
            });
            format!(" ({})", place + 1)
        });
        let ours = line.ours.map(Measure::text).unwrap_or_default();
        let (peer, theirs) = line.peer.as_ref().map(|(name, value)| (name.as_str(), value.text())).unwrap_or_default();
        let ratio = line.ratio().map(number).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {}{} | {ours} | {peer} | {theirs} | {ratio} | {} | {} |",
            line.figure,
            mark.unwrap_or_default(),
            line.aim.text(),
            line.verdict()
        );
    }
    for (index, note) in notes.iter().enumerate() {
        let _ = write!(text, "\n({}) {note}\n", index + 1);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_whether_its_aim_is_met() {
        let line = |ours, theirs, aim| Line::new("x", ours, "ms").against("y", theirs).aim(aim).is_met();
        assert_eq!(line(3.0, 2.0, Aim::RatioAtMost(1.5)), Some(true));
        assert_eq!(line(3.1, 2.0, Aim::RatioAtMost(1.5)), Some(false));
        assert_eq!(line(30.0, 2.0, Aim::RatioAtLeast(15.0)), Some(true));
        assert_eq!(line(29.0, 2.0, Aim::RatioAtLeast(15.0)), Some(false));
        assert_eq!(line(5.1, 2.0, Aim::AtMost(5.0)), Some(false));
        assert_eq!(Line::new("x", 1.0, "ms").aim(Aim::RatioAtMost(1.5)).is_met(), None);
    }

    #[test]
    fn values_of_different_kinds_stand_beside_each_other_without_a_ratio() {
        let line = Line::new("delay", 5.0, "ms").against("polling", 500.0).without_ratio();
        assert_eq!((line.ratio(), line.json()["ratio"].is_null()), (None, true));
        assert!(markdown(&[line]).ends_with("| delay | 5 ms | polling | 500 ms |  |  |  |\n"));
    }

    #[test]
    fn the_table_is_markdown_and_tells_once_what_was_missing() {
        let lines = [
            Line::new("start", 12.345, "ms").against("bare", 10.0).aim(Aim::RatioAtMost(1.5)),
            Line::missing("start in Node.js", "node is not installed").aim(Aim::RatioAtMost(0.05)),
            Line::missing("pushes in Node.js", "node is not installed"),
        ];
        let expected = "\
| figure | Tidings | peer | its value | ratio | aim | |
| --- | --- | --- | --- | --- | --- | --- |
| start | 12.3 ms | bare | 10 ms | 1.23 | ratio ≤ 1.50 | met |
| start in Node.js (1) |  |  |  |  | ratio ≤ 0.050 | not measured |
| pushes in Node.js (1) |  |  |  |  |  | not measured |

(1) node is not installed
";
        assert_eq!(markdown(&lines), expected);
    }

    #[test]
    fn numbers_have_three_digits_and_groups() {
        let shown = [1_234_567.0, 999.6, 100.0, 12.34, 1.234, 0.0567, 0.0].map(number);
        assert_eq!(shown, ["1,234,567", "1,000", "100", "12.3", "1.23", "0.057", "0"]);
    }
}
