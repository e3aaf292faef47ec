//! The action `ask`: what the user is shown, and what becomes of the answers.

use super::policy::{PolicyFile, shown};
use super::term;
use crate::policy::files::Effect;
use crate::policy::glob;
use crate::policy::lang::{Sheets, Source, rights_of};
use crate::policy::{Access, RuleId};
use crate::supervisor::ask::{Answer, Asker, Question};
use crate::trace::advice::rights;
use crate::trace::tell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use toml_edit::{DocumentMut, Item, Table, Value, value};

/// How the names of policies begin that come with sbox.
const SHIPPED: &str = "std/";
/// What is remembered, at most: who asks for more is asked about each time.
const MOST: usize = 4096;

/// The answers of a run.
pub(super) struct Answers {
    sheets: Arc<Sheets>,
    /// The files of the policy, found before a guest could lead to others.
    files: Vec<Option<PolicyFile>>,
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
    /// What we have written to files, by their number.
    written: HashMap<u32, String>,
}

impl Answers {
    pub(super) fn new(sheets: Arc<Sheets>) -> Self {
        let asks = sheets.asks();
        let find = |source: &Source| {
            let own = asks && !source.name.starts_with(SHIPPED);
            own.then(|| PolicyFile::find(Path::new(&source.name)).ok())?
        };
        Self {
            files: sheets.sources.0.iter().map(find).collect(),
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
    fn write(
        &self,
        written: &mut HashMap<u32, String>,
        by: RuleId,
        path: &str,
        access: Access,
    ) -> Result<String, String> {
        let rule = self.sheets.rule(by).ok_or("the rule is gone")?;
        let number = rule.at.file;
        let source = self.sheets.sources.0.get(number as usize);
        let Source { name, text, .. } = source.ok_or("its file is not known")?;
        if name.starts_with(SHIPPED) {
            return Err(format!(
                "{name} comes with sbox: a policy that extends it can be written"
            ));
        }
        let fail = |error: std::io::Error| format!("{name}: {error}");
        let file = self.files.get(number as usize).and_then(Option::as_ref);
        let file = file.ok_or_else(|| format!("{name}: its directory could not be opened"))?;
        // Another's words are not made ours.
        let known = written.get(&number).unwrap_or(text);
        if file.read().map_err(fail)? != *known {
            return Err(format!("{name} has been changed since it was read"));
        }
        let text = with_rule(known, path, access).map_err(|why| format!("{name}: {why}"))?;
        file.replace(&text).map_err(fail)?;
        written.insert(number, text);
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
    let mut access = held.and(access).and(Access::LOOK);
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
        None => drop(files.insert_formatted(&shown(&key), value(rights(access)))),
    }
    Ok(document.to_string())
}

impl Asker for Answers {
    fn may(&self, question: &Question<'_>, prompt: &dyn Fn(&str) -> Answer) -> bool {
        let ruling = self.sheets.decide(question.path);
        let (Effect::Ask(askable), Some(by)) = (ruling.effect, self.sheets.culprit(&ruling)) else {
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
        // An answer to an exec that has come to nothing is not for the next one.
        let before = book.once.take_if(|(task, _)| *task == question.task);
        if before.is_some_and(|(_, path)| question.again && path == question.path) {
            return true;
        }
        let path = term::escape_bytes(question.path);
        let text = format!(
            "{} wants to {} {path} (task {})\n  rule: {}\n  allow it? [o]nce, this [r]un, [a]lways, or any other key: no",
            question.call,
            question.access,
            question.task,
            self.sheets.tell(by)
        );
        let key = match prompt(&text) {
            Answer::Key(key) => key,
            Answer::Withdrawn => return false,
            Answer::Nobody => {
                self.unasked.fetch_add(1, Ordering::Relaxed);
                return false;
            }
        };
        let allowed = matches!(key, b'o' | b'r' | b'a');
        if key == b'o' {
            let exec = question.access == Access::EXEC;
            book.once = exec.then(|| (question.task, question.path.to_vec()));
            return true;
        }
        if key == b'a' {
            let written = match std::str::from_utf8(question.path) {
                Ok(path) => self.write(&mut book.written, by, path, question.access),
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
