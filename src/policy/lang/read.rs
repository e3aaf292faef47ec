//! One file: TOML to settings with their places. What a setting means is not looked at here.

use super::fault::{Fault, Where};
use toml_edit::{Document, Item, TableLike, TomlError, Value};

/// A value, as far as TOML knows it.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
    /// Yes or no.
    Truth(bool),
    /// Several.
    List(Vec<Setting>),
    /// Named ones.
    Table(Vec<Setting>),
    /// A date or a fraction: nothing in a policy is one.
    Odd,
}

/// A key, its value, and where both stand. In lists there is no key.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// `[section]` that it stands in; empty at the top and inside of values.
    pub section: &'static str,
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub at: Where,
    /// The value.
    pub value: Raw,
    /// Where the value stands.
    pub value_at: Where,
}

impl Setting {
    /// The text of the value.
    pub fn text(&self) -> Result<&str, Fault> {
        match &self.value {
            Raw::Text(text) => Ok(text),
            _ => Err(Fault::at(
                self.value_at,
                format!("'{}' wants a text in quotes", self.key),
            )),
        }
    }

    /// One text, or a list of them; with the place of each.
    pub fn texts(&self) -> Result<Vec<(&str, Where)>, Fault> {
        match &self.value {
            Raw::List(all) => all
                .iter()
                .map(|one| match &one.value {
                    Raw::Text(text) => Ok((text.as_str(), one.value_at)),
                    _ => Err(Fault::at(
                        one.value_at,
                        format!("'{}' wants a list of texts", self.key),
                    )),
                })
                .collect(),
            Raw::Text(text) => Ok(vec![(text, self.value_at)]),
            _ => Err(Fault::at(
                self.value_at,
                format!("'{}' wants a text or a list of texts", self.key),
            )),
        }
    }
}

/// A section, and its keys where they are known words.
pub(super) struct Section {
    /// Its name.
    pub name: &'static str,
    /// Its keys; `None`: any, such as patterns.
    pub keys: Option<&'static [&'static str]>,
    /// What it is for, in the schema.
    pub about: &'static str,
}

const fn section(
    name: &'static str,
    keys: Option<&'static [&'static str]>,
    about: &'static str,
) -> Section {
    Section { name, keys, about }
}

/// The language, version 1: all sections. The first is what stands before any section.
pub(super) const SECTIONS: [Section; 14] = [
    section(
        "",
        Some(&["sbox", "name", "description", "extends", "within"]),
        "What this file is, and what it builds on",
    ),
    section(
        "view",
        Some(&["root", "pids", "hostname", "user", "cwd"]),
        "What the program's world is made of",
    ),
    section("view.mounts", None, "Path in the view = what stands there"),
    section("files", None, "Pattern of paths = rights or action"),
    section("exec", None, "Pattern of programs = \"allow\" or an action"),
    section(
        "env",
        Some(&["keep", "set", "drop"]),
        "Environment variables",
    ),
    section("syscalls", None, "Name, @group or * = action"),
    section(
        "proc",
        Some(&["see", "signal", "ptrace"]),
        "Other processes",
    ),
    section(
        "net",
        None,
        "inet = \"allow\" or \"deny\", or single operations",
    ),
    section("limits", None, "Resources"),
    section(
        "default",
        Some(&[
            "files",
            "net",
            "syscalls",
            "unknown-syscalls",
            "signals",
            "stdin",
            "enforce",
        ]),
        "What holds where no rule matches",
    ),
    section("vars", None, "Variables of this policy"),
    section(
        "forbid",
        Some(&["files", "syscalls"]),
        "What nothing can open again",
    ),
    section(
        "examples",
        None,
        "\"operation path\" = the answer that is expected",
    ),
];

/// Reads the text of one file.
pub(super) fn read(text: &str, file: u32) -> Result<Vec<Setting>, Vec<Fault>> {
    let document = Document::parse(text).map_err(|error| vec![syntax(&error, file)])?;
    let mut all = Vec::new();
    let mut faults = Vec::new();
    table(document.as_table(), "", file, &mut all, &mut faults);
    if faults.is_empty() {
        Ok(all)
    } else {
        Err(faults)
    }
}

fn syntax(error: &TomlError, file: u32) -> Fault {
    let what = error.message().lines().collect::<Vec<_>>().join(", ");
    Fault::at(Where::of(file, error.span()), what)
}

fn table(
    of: &dyn TableLike,
    name: &'static str,
    file: u32,
    all: &mut Vec<Setting>,
    faults: &mut Vec<Fault>,
) {
    let Some(known) = SECTIONS.iter().find(|section| section.name == name) else {
        return;
    };
    let sections: Vec<(&str, &'static str)> = SECTIONS
        .iter()
        .filter_map(|section| Some((inside_of(name, section.name)?, section.name)))
        .collect();
    let full = |key: &str| match name {
        "" => key.to_owned(),
        name => format!("{name}.{key}"),
    };
    for (key, item) in of.iter() {
        let at = of.get_key_value(key).and_then(|(key, _)| key.span());
        let at = Where::of(file, at.or_else(|| item.span()));
        if let Some((_, section)) = sections.iter().find(|(last, _)| *last == key) {
            match item.as_table_like() {
                Some(inner) => table(inner, section, file, all, faults),
                None => faults.push(Fault::at(
                    at,
                    format!("'{section}' is a section: write [{section}]"),
                )),
            }
            continue;
        }
        if known.keys.is_some_and(|keys| !keys.contains(&key)) {
            faults.push(unknown(name, key, item, at));
            continue;
        }
        match item {
            Item::Table(_) if name != "vars" && key != "set" => {
                faults.push(
                    Fault::at(at, format!("there is no section [{}]", full(key)))
                        .hint("write the value behind an equals sign"),
                );
            }
            Item::ArrayOfTables(_) => {
                faults.push(Fault::at(
                    at,
                    format!("[[{}]] is no part of a policy", full(key)),
                ));
            }
            item => all.push(Setting {
                section: name,
                key: key.to_owned(),
                at,
                value: of_item(item, file),
                value_at: Where::of(file, item.span()),
            }),
        }
    }
}

/// What a section is called inside of another, if it is in that one.
fn inside_of(outer: &str, inner: &'static str) -> Option<&'static str> {
    let last = match outer {
        "" => inner,
        outer => inner.strip_prefix(outer)?.strip_prefix('.')?,
    };
    (!last.is_empty()).then_some(last)
}

fn unknown(section: &str, key: &str, item: &Item, at: Where) -> Fault {
    let is_table = item.is_table() || item.is_array_of_tables();
    let inside = |name: &'static str| {
        name.strip_prefix(section)
            .map(|rest| rest.trim_start_matches('.'))
    };
    let sections = SECTIONS
        .iter()
        .filter_map(|s| inside(s.name))
        .filter(|s| !s.is_empty());
    let keys = SECTIONS
        .iter()
        .filter(|s| s.name == section)
        .filter_map(|s| s.keys)
        .flatten()
        .copied();
    if is_table {
        let full = if section.is_empty() {
            key.to_owned()
        } else {
            format!("{section}.{key}")
        };
        return Fault::at(at, format!("there is no section [{full}]")).nearest(key, sections);
    }
    let fault = Fault::at(
        at,
        if section.is_empty() {
            format!("unknown key '{key}'")
        } else {
            format!("unknown key '{key}' in [{section}]")
        },
    );
    // A key of another section that was put under the wrong heading.
    let other = SECTIONS
        .iter()
        .find(|s| s.name != section && s.keys.is_some_and(|keys| keys.contains(&key)));
    match other {
        Some(s) if s.name.is_empty() => {
            fault.hint(format!("'{key}' belongs above the first section"))
        }
        Some(s) => fault.hint(format!("'{key}' belongs in [{}]", s.name)),
        None if key.starts_with('/') || key.starts_with("**/") => {
            fault.hint("patterns of paths belong in [files]")
        }
        None => fault.nearest(key, keys),
    }
}

fn of_item(item: &Item, file: u32) -> Raw {
    match item {
        Item::Value(value) => of_value(value, file),
        Item::Table(inner) => Raw::Table(inside(inner, file)),
        _ => Raw::Odd,
    }
}

fn of_value(value: &Value, file: u32) -> Raw {
    match value {
        Value::String(text) => Raw::Text(text.value().clone()),
        Value::Integer(number) => Raw::Number(*number.value()),
        Value::Boolean(truth) => Raw::Truth(*truth.value()),
        Value::Array(list) => Raw::List(
            list.iter()
                .map(|value| {
                    let at = Where::of(file, value.span());
                    Setting {
                        section: "",
                        key: String::new(),
                        at,
                        value: of_value(value, file),
                        value_at: at,
                    }
                })
                .collect(),
        ),
        Value::InlineTable(inner) => Raw::Table(inside(inner, file)),
        Value::Float(_) | Value::Datetime(_) => Raw::Odd,
    }
}

fn inside(table: &dyn TableLike, file: u32) -> Vec<Setting> {
    let one = |(key, item): (&str, &Item)| {
        let at = table.get_key_value(key).and_then(|(key, _)| key.span());
        Setting {
            section: "",
            key: key.to_owned(),
            at: Where::of(file, at),
            value: of_item(item, file),
            value_at: Where::of(file, item.span()),
        }
    };
    table.iter().map(one).collect()
}
