//! A picture of what was compared: bars, as SVG.

use std::fmt::Write;

use crate::table::{Line, number};

const WIDTH: f64 = 720.0;
const LEFT: f64 = 150.0;
const BAR: f64 = 18.0;
const COLOURS: [&str; 3] = ["#b0b7c3", "#7d8ca3", "#e8590c"];

/// One group of bars for each figure, each figure on a scale of its own. Lines come in pairs: the same figure against two
/// peers.
pub(crate) fn bars(lines: &[Line]) -> String {
    let mut body = String::new();
    let mut top = 16.0;
    for pair in lines.chunks(2) {
        let [first, second] = pair else { continue };
        let (Some(ours), Some(one), Some(other)) = (first.ours, &first.peer, &second.peer) else { continue };
        let bars = [(one.0.as_str(), one.1), (other.0.as_str(), other.1), ("WebSocket push", ours)];
        let most = bars.iter().map(|(_, measure)| measure.value).fold(f64::MIN_POSITIVE, f64::max);
        let title = first.figure.trim_start_matches("updates: ");
        // Writing to a string cannot fail.
        let _ = writeln!(body, r#"<text class="title" x="12" y="{}">{title}</text>"#, top + 12.0);
        top += 22.0;
        for ((name, measure), colour) in bars.into_iter().zip(COLOURS) {
            let width = (measure.value / most * (WIDTH - LEFT - 110.0)).max(1.0);
            let value = format!("{} {}", number(measure.value), measure.unit);
            let middle = top + BAR - 5.0;
            let _ = writeln!(
                body,
                r#"<text x="{}" y="{middle}" text-anchor="end">{name}</text><rect x="{LEFT}" y="{top}" width="{width:.1}" height="{}" fill="{colour}"/><text x="{:.1}" y="{middle}">{}</text>"#,
                LEFT - 8.0,
                BAR - 2.0,
                LEFT + width + 6.0,
                value.trim_end()
            );
            top += BAR;
        }
        top += 14.0;
    }
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img" aria-label="Polling, long polling and WebSocket push compared">
<style>text {{ font: 12px system-ui, sans-serif; fill: #1f2933 }} .title {{ font-weight: 600 }}</style>
<rect width="100%" height="100%" fill="white"/>
{body}</svg>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_three_bars_whose_longest_fills_the_width() {
        let line = |peer, value| Line::new("updates: mean delay", 5.0, "ms").against(peer, value);
        let svg = bars(&[line("1-second polling", 500.0), line("long polling", 250.0)]);
        assert_eq!(svg.matches("<rect x=").count(), 3);
        assert!(svg.contains(r#"width="460.0""#) && svg.contains(r#"width="230.0""#), "{svg}");
        assert!(svg.contains(">mean delay<") && svg.contains(">500 ms<"), "{svg}");
    }
}
