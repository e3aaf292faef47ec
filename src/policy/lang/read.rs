//! One file: TOML to settings with their places. What a setting means is not looked at here.

use super::fault::{Fault, Where};
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

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
    section(
        "exec",
        None,
        "Pattern of programs = \"allow\", an action, the arguments that they may be given, or the policy that they go on under",
    ),
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
    let of = Of { text, file };
    let document = DeTable::parse(text).map_err(|error| vec![of.syntax(&error)])?;
    let mut all = Vec::new();
    let mut faults = Vec::new();
    of.table(document.get_ref(), "", &mut all, &mut faults);
    if faults.is_empty() {
        Ok(all)
    } else {
        Err(faults)
    }
}

/// Ways to write a value that are one to TOML's reader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    /// Behind an equals sign.
    Plainly,
    /// Under a heading, or with dots in the key.
    AsSection,
    /// Under headings in double brackets.
    AsSections,
}

/// The file that is being read.
struct Of<'t> {
    text: &'t str,
    file: u32,
}

impl Of<'_> {
    fn syntax(&self, error: &Error) -> Fault {
        let what = error.message().lines().collect::<Vec<_>>().join(", ");
        Fault::at(Where::of(self.file, error.span()), what)
    }

    fn at<T>(&self, what: &Spanned<T>) -> Where {
        Where::of(self.file, Some(what.span()))
    }

    fn written(&self, value: &Spanned<DeValue<'_>>) -> Written {
        let begins_with = |value: &Spanned<_>, brace| {
            let here = self.text.get(value.span().start..);
            here.is_some_and(|text| text.starts_with(brace))
        };
        match value.get_ref() {
            DeValue::Table(_) if !begins_with(value, '{') => Written::AsSection,
            DeValue::Array(list) => match list.first() {
                Some(first) if first.get_ref().is_table() && !begins_with(first, '{') => {
                    Written::AsSections
                }
                _ => Written::Plainly,
            },
            _ => Written::Plainly,
        }
    }

    fn table(
        &self,
        of: &DeTable<'_>,
        name: &'static str,
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
        all.reserve(of.len());
        for (spanned, value) in of {
            let (key, at) = (&**spanned.get_ref(), self.at(spanned));
            if let Some((_, section)) = sections.iter().find(|(last, _)| *last == key) {
                match value.get_ref().as_table() {
                    Some(inner) => self.table(inner, section, all, faults),
                    None => faults.push(Fault::at(
                        at,
                        format!("'{section}' is a section: write [{section}]"),
                    )),
                }
                continue;
            }
            if known.keys.is_some_and(|keys| !keys.contains(&key)) {
                let as_section = self.written(value) != Written::Plainly;
                faults.push(unknown(name, key, as_section, at));
                continue;
            }
            match self.written(value) {
                Written::AsSection if name != "vars" && key != "set" => {
                    faults.push(
                        Fault::at(at, format!("there is no section [{}]", full(key)))
                            .hint("write the value behind an equals sign"),
                    );
                }
                Written::AsSections => {
                    faults.push(Fault::at(
                        at,
                        format!("[[{}]] is no part of a policy", full(key)),
                    ));
                }
                _ => all.push(Setting {
                    section: name,
                    key: key.to_owned(),
                    at,
                    value: self.value(value.get_ref()),
                    value_at: self.at(value),
                }),
            }
        }
    }

    fn value(&self, value: &DeValue<'_>) -> Raw {
        match value {
            DeValue::String(text) => Raw::Text((**text).to_owned()),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).map_or(Raw::Odd, Raw::Number)
            }
            DeValue::Boolean(truth) => Raw::Truth(*truth),
            DeValue::Array(list) => Raw::List(
                list.iter()
                    .map(|value| self.setting(String::new(), self.at(value), value))
                    .collect(),
            ),
            DeValue::Table(inner) => Raw::Table(
                inner
                    .iter()
                    .map(|(key, value)| {
                        self.setting((**key.get_ref()).to_owned(), self.at(key), value)
                    })
                    .collect(),
            ),
            DeValue::Float(_) | DeValue::Datetime(_) => Raw::Odd,
        }
    }

    /// One inside of a value.
    fn setting(&self, key: String, at: Where, value: &Spanned<DeValue<'_>>) -> Setting {
        Setting {
            section: "",
            key,
            at,
            value: self.value(value.get_ref()),
            value_at: self.at(value),
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

fn unknown(section: &str, key: &str, as_section: bool, at: Where) -> Fault {
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
    if as_section {
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
