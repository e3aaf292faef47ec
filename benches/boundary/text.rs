//! Figures for people: Markdown that is aligned as plain text, too, and the page that keeps the last run.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Fallible;
use crate::stats::Summary;

/// Puts `text` between the marks of `part` in docs/PERFORMANCE.md.
pub(crate) fn write_docs(part: &str, text: &str) -> Fallible<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/PERFORMANCE.md");
    let docs = fs::read_to_string(&path)?;
    let (begin, end) = (
        format!("<!-- {part}:begin -->"),
        format!("<!-- {part}:end -->"),
    );
    let (before, rest) = docs
        .split_once(&begin)
        .ok_or("docs/PERFORMANCE.md has no begin mark")?;
    let (_, after) = rest
        .split_once(&end)
        .ok_or("docs/PERFORMANCE.md has no end mark")?;
    fs::write(&path, format!("{before}{begin}\n{text}\n{end}{after}"))?;
    println!("Tables put in {}", path.display());
    Ok(())
}

/// Median and quartiles: `1.21 (1.18–1.30)`.
pub(crate) fn spread(summary: Summary) -> String {
    let (low, high) = summary.quartiles;
    if summary.turns == 1 {
        return number(summary.median);
    }
    format!(
        "{} ({}–{})",
        number(summary.median),
        number(low),
        number(high)
    )
}

/// Three digits are all that a measurement of this kind is worth.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

pub(crate) fn duration(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns >= 1e9 => (ns / 1e9, "s"),
        ns if ns >= 1e6 => (ns / 1e6, "ms"),
        ns if ns >= 1e3 => (ns / 1e3, "µs"),
        ns => (ns, "ns"),
    };
    format!("{} {unit}", number(value))
}

/// A Markdown table whose columns line up. The first line is the head.
pub(crate) fn table(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (i, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if i == 0 {
            widths
                .iter()
                .for_each(|width| text.push_str(&format!("|{}", "-".repeat(width + 2))));
            text.push_str("|\n");
        }
    }
    text
}
