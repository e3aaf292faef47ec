//! The action `ask`: what the user is shown, and what becomes of the answers.

use super::policy::replace;
use super::term;
use crate::policy::files::Effect;
use crate::policy::glob;
use crate::policy::lang::{Sheets, rights_of};
use crate::policy::{Access, RuleId};
use crate::supervisor::ask::{Asker, Question};
use crate::trace::advice::rights;
use crate::trace::tell;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use toml_edit::{DocumentMut, Item, Table, Value, value};

/// What is remembered, at most: who asks for more is asked about each time.
const MOST: usize = 4096;

/// The answers of a run.
pub(super) struct Answers {
    sheets: Arc<Sheets>,
    book: Mutex<Book>,
    /// Questions that nobody was there to answer.
    unasked: AtomicU64,
}

#[derive(Default)]
struct Book {
    /// Allowed, or not, for the rest of the run.
    known: Vec<(Vec<u8>, Access, bool)>,
    /// An exec is judged twice; the answer to the first serves both.
    once: Option<(i32, Vec<u8>)>,
}

impl Answers {
    pub(super) fn new(sheets: Arc<Sheets>) -> Self {
        Self {
            sheets,
            book: Mutex::default(),
            unasked: AtomicU64::new(0),
        }
    }

    /// How many questions could not be asked.
    pub(super) fn unasked(&self) -> u64 {
        self.unasked.load(Ordering::Relaxed)
    }

    /// Adds a rule for one path to the file of the rule that had it asked. What has become of it.
    fn write(&self, by: RuleId, path: &str, access: Access) -> Result<String, String> {
        let rule = self.sheets.rule(by).ok_or("the rule is gone")?;
        let source = self.sheets.sources.0.get(rule.at.file as usize);
        let name = &source.ok_or("its file is not known")?.name;
        if name.starts_with("std/") {
            return Err(format!(
                "{name} comes with sbox: a policy that extends it can be written"
            ));
        }
        let text = std::fs::read_to_string(name).map_err(|e| format!("{name}: {e}"))?;
        let text = with_rule(&text, path, access).map_err(|why| format!("{name}: {why}"))?;
        replace(Path::new(name), &text).map_err(|e| format!("{name}: {e}"))?;
        Ok(name.clone())
    }
}

/// The text of a policy with a right more for one path. All else stays as it is, comments too.
fn with_rule(text: &str, path: &str, access: Access) -> Result<String, String> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|e: toml_edit::TomlError| e.to_string())?;
    let files = document
        .entry("files")
        .or_insert(Item::Table(Table::new()))
        .as_table_mut()
        .ok_or("'files' is not written as [files]")?;
    let key = glob::escape(path);
    let held = match files.get(&key).map(|item| item.as_str()) {
        None => Access::NONE,
        Some(says) => says
            .and_then(rights_of)
            .ok_or("there is a rule for this very path")?,
    };
    let access = held.and(access).and(Access::LOOK);
    let mut access = access.and(Access::READ);
    let writes = Access::WRITE.and(Access::CONNECT);
    if !access.both(writes).is_empty() {
        access = access.and(writes);
    }
    match files.get_mut(&key).and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = Value::from(rights(access));
            *old.decor_mut() = decor;
        }
        None => drop(files.insert(&key, value(rights(access)))),
    }
    Ok(document.to_string())
}

impl Asker for Answers {
    fn may(&self, question: &Question<'_>, prompt: &dyn Fn(&str) -> Option<u8>) -> bool {
        let ruling = self.sheets.decide(question.path);
        let (Effect::Ask(askable), Some(by)) = (ruling.effect, ruling.because.first()) else {
            return false;
        };
        if !askable.has(question.access) {
            return false;
        }
        // Held while it is asked: two programs are answered one after the other.
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&(Vec<u8>, Access, bool)| {
            known.0 == question.path
                && if known.2 {
                    known.1.has(question.access)
                } else {
                    question.access.has(known.1)
                }
        };
        if let Some((_, _, allowed)) = book.known.iter().find(same) {
            return *allowed;
        }
        let first = book.once.take_if(|(task, path)| {
            *task == question.task && path == question.path && question.access == Access::EXEC
        });
        if first.is_some() {
            return true;
        }
        let path = term::escape_bytes(question.path);
        let text = format!(
            "{} wants to {} {path} (task {})\n  rule: {}\n  allow it? [o]nce, this [r]un, [a]lways, or any other key: no",
            question.call,
            question.access,
            question.task,
            self.sheets.tell(*by)
        );
        let Some(key) = prompt(&text) else {
            self.unasked.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        let allowed = matches!(key, b'o' | b'r' | b'a');
        if key == b'o' {
            let exec = question.access == Access::EXEC;
            book.once = exec.then(|| (question.task, question.path.to_vec()));
            return true;
        }
        if key == b'a' {
            let written = match std::str::from_utf8(question.path) {
                Ok(path) => self.write(*by, path, question.access),
                Err(_) => Err("its name is no text".into()),
            };
            match written {
                Ok(file) => tell(&format!("{file} allows it from now on")),
                Err(why) => tell(&format!("allowed for this run only: {why}")),
            }
        }
        if book.known.len() < MOST {
            book.known
                .push((question.path.to_vec(), question.access, allowed));
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_added_and_comments_stay() {
        let before = "# mine\nsbox = 1\n\n[files]\n# ask me\n\"/a/**\" = \"ask\" # why\n\n[env]\nkeep = [\"A\"]\n";
        let read = with_rule(before, "/a/b*", Access::READ).unwrap();
        assert_eq!(
            read,
            "# mine\nsbox = 1\n\n[files]\n# ask me\n\"/a/**\" = \"ask\" # why\n'/a/b\\*' = \"r\"\n\n[env]\nkeep = [\"A\"]\n"
        );
        let read = read.replace("= \"r\"", "= \"r\" # by me");
        let written = with_rule(&read, "/a/b*", Access::WRITE.and(Access::CREATE)).unwrap();
        assert!(written.contains("= \"rwc\" # by me\n"), "{written}");
        assert!(with_rule("sbox = 1\n[files]\n\"/a\" = \"hide\"\n", "/a", Access::READ).is_err());
    }
}
