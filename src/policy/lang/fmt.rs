//! `sbox policy fmt`: one canonical form; comments stay with the lines that they stand above.

use super::read::SECTIONS;
use toml_edit::{DocumentMut, Item, Table, TomlError};

/// Sections in the order of the manual, keys of rules in alphabetical order.
pub fn tidy(text: &str) -> Result<String, TomlError> {
    let mut document: DocumentMut = text.parse()?;
    let mut position = 0;
    order(document.as_table_mut(), "", &mut position);
    let text = document.to_string();
    // Lines of such a text are no lines of the policy.
    if text.contains("\"\"\"") || text.contains("'''") {
        return Ok(text);
    }
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim_end) {
        // Never two empty lines, and none at the top.
        if line.is_empty() && lines.last().is_none_or(|last| last.is_empty()) {
            continue;
        }
        // One before a section, and before the comment that stands above it.
        if line.starts_with('[') {
            let comment = lines
                .iter()
                .rev()
                .take_while(|line| line.starts_with('#'))
                .count();
            let at = lines.len() - comment;
            if at > 0 && lines.get(at - 1).is_some_and(|before| !before.is_empty()) {
                lines.insert(at, "");
            }
        }
        lines.push(line);
    }
    while lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    Ok(lines.join("\n") + "\n")
}

fn order(table: &mut Table, name: &str, position: &mut isize) {
    let Some(section) = SECTIONS.iter().find(|section| section.name == name) else {
        return;
    };
    match section.keys {
        Some(keys) => table.sort_values_by(|a, _, b, _| {
            let rank = |key: &str| {
                keys.iter()
                    .position(|known| *known == key)
                    .unwrap_or(keys.len())
            };
            rank(a.get()).cmp(&rank(b.get()))
        }),
        None => table.sort_values_by(|a, _, b, _| a.get().cmp(b.get())),
    }
    for (mut key, item) in table.iter_mut() {
        if item.is_value() {
            key.leaf_decor_mut().set_suffix(" ");
            if let Item::Value(value) = item {
                let suffix = value
                    .decor()
                    .suffix()
                    .and_then(|s| s.as_str())
                    .unwrap_or_default()
                    .trim();
                let suffix = if suffix.is_empty() {
                    String::new()
                } else {
                    format!(" {suffix}")
                };
                *value.decor_mut() = toml_edit::Decor::new(" ", suffix);
            }
        }
    }
    for section in &SECTIONS {
        let inner = if name.is_empty() {
            Some(section.name)
        } else {
            section
                .name
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('.'))
        };
        let Some(inner) = inner.filter(|inner| !inner.is_empty() && !inner.contains('.')) else {
            continue;
        };
        if let Some(Item::Table(table)) = table.get_mut(inner) {
            *position += 1;
            table.set_position(Some(*position));
            order(table, section.name, position);
        }
    }
}
