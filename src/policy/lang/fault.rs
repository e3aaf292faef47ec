//! Errors in policies: where, what, and which word may have been meant.

use crate::similar;
use std::fmt::Write as _;
use std::path::Path;

/// A stretch of one of the files that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Where {
    /// Which file, in the order of reading.
    pub file: u32,
    /// First byte.
    pub start: u32,
    /// Behind the last byte.
    pub end: u32,
}

impl Where {
    /// Of a file and a range that the TOML reader tells; none: the file's beginning.
    pub(in crate::policy) fn of(file: u32, span: Option<std::ops::Range<usize>>) -> Self {
        let span = span.unwrap_or(0..0);
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            file,
            start: narrow(span.start),
            end: narrow(span.end),
        }
    }
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name, for people.
    pub name: String,
    /// What is in it.
    pub text: String,
    /// Where its lines begin: thousands of rules may be told with their line.
    starts: Vec<usize>,
}

impl Source {
    /// A file's name and text.
    pub fn new(name: String, text: String) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
        let starts = std::iter::once(0)
            .chain(ends.map(|(at, _)| at + 1))
            .collect();
        Self { name, text, starts }
    }

    /// Line and column, from 1; columns count characters.
    fn position(&self, at: u32) -> (usize, usize) {
        let at = (at as usize).min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= at);
        let start = self
            .starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or(0);
        let before = self.text.get(start..at).unwrap_or_default();
        (line, before.chars().count() + 1)
    }
}

/// All files of a policy.
#[derive(Clone, Debug, Default)]
pub struct Sources(pub Vec<Source>);

impl Sources {
    /// `grader.toml:12`
    pub fn place(&self, at: Where) -> String {
        match self.0.get(at.file as usize) {
            Some(source) => format!("{}:{}", source.name, source.position(at.start).0),
            None => "?".into(),
        }
    }

    /// The file that is called `name` at a place: relative to the file that it stands in.
    pub fn path_of(&self, name: &str, from: Option<Where>) -> String {
        let by = from.and_then(|at| self.0.get(at.file as usize));
        match by {
            Some(by) if !name.starts_with("std/") && !by.name.starts_with("std/") => {
                let dir = Path::new(&by.name).parent().unwrap_or(Path::new(""));
                dir.join(name).to_string_lossy().into_owned()
            }
            _ => name.to_owned(),
        }
    }
}

/// What is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where; `None`: of no file.
    pub at: Option<Where>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Fault {
    /// At a place.
    pub(in crate::policy) fn at(at: Where, what: impl Into<String>) -> Self {
        Self {
            at: Some(at),
            what: what.into(),
            hint: None,
        }
    }

    /// With advice.
    pub(in crate::policy) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the valid word most like the one that stands there, or all of them.
    pub(in crate::policy) fn nearest<'w>(
        self,
        word: &str,
        known: impl IntoIterator<Item = &'w str>,
    ) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match similar::nearest(word, known.iter().copied()) {
            Some(near) => self.hint(format!("did you mean '{near}'?")),
            None if known.len() <= 16 => self.hint(format!("known: {}", known.join(", "))),
            None => self,
        }
    }

    /// For people: file, line and column; the line, and a caret below what is meant.
    pub fn show(&self, sources: &Sources) -> String {
        let mut out = String::new();
        let source = self
            .at
            .and_then(|at| Some((at, sources.0.get(at.file as usize)?)));
        if let Some((at, source)) = source {
            let (line, column) = source.position(at.start);
            let text = source.text.lines().nth(line - 1).unwrap_or_default();
            let number = line.to_string();
            let pad = " ".repeat(number.len());
            let meant = source.text.get(at.start as usize..at.end as usize);
            let meant = meant.unwrap_or_default().lines().next().unwrap_or_default();
            let width = meant.chars().count().max(1);
            let clean: String = text
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            // Writing to a String cannot fail.
            let _ = write!(
                out,
                "{}:{line}:{column}: {}\n {number} | {clean}\n {pad} | {}{}",
                source.name,
                self.what,
                " ".repeat(column - 1),
                "^".repeat(width)
            );
        } else {
            out.push_str(&self.what);
        }
        if let Some(hint) = &self.hint {
            let _ = write!(out, "\n  hint: {hint}");
        }
        out
    }
}
