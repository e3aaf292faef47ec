//! The action `ask`: what the user is shown, and what becomes of the answers.

use super::policy::{PolicyFile, shown};
use super::term;
use crate::policy::files::Effect;
use crate::policy::glob;
use crate::policy::lang::{Does, Sheet, Sheets, Source, rights_of};
use crate::policy::{Access, RuleId};
use crate::supervisor::ask::{About, Answer, Asker, Question};
use crate::sys;
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
    /// The same of calls, by their rule and name.
    calls: Vec<(String, String, bool)>,
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

    /// Changes the file of the rule that had something asked. What has become of it.
    fn write(
        &self,
        written: &mut HashMap<u32, String>,
        by: RuleId,
        with: impl FnOnce(&str) -> Result<String, String>,
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
        let text = with(known).map_err(|why| format!("{name}: {why}"))?;
        file.replace(&text).map_err(fail)?;
        written.insert(number, text);
        Ok(name.clone())
    }
}

/// The text of a policy with a right more for the paths of a key. All else stays as it is, comments too.
fn with_rule(text: &str, key: &str, access: Access) -> Result<String, String> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|e: toml_edit::TomlError| e.to_string())?;
    let files = document
        .entry("files")
        .or_insert(Item::Table(Table::new()))
        .as_table_mut()
        .ok_or("'files' is not written as [files]")?;
    let held = match files.get(key).map(|item| item.as_str()) {
        None | Some(Some("ask")) => Access::NONE,
        Some(says) => says
            .and_then(rights_of)
            .ok_or("there is a rule for this very path")?,
    };
    let mut access = held.and(access).and(Access::LOOK);
    let writes = Access::WRITE.and(Access::CONNECT);
    if !access.both(writes).is_empty() {
        access = access.and(writes);
    }
    match files.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = Value::from(rights(access));
            *old.decor_mut() = decor;
        }
        None => drop(files.insert_formatted(&shown(key), value(rights(access)))),
    }
    Ok(document.to_string())
}

/// The text of a policy in which a program, or a call, is allowed: by its own rule if that asked, else by one that is narrower.
fn with_allowed(text: &str, section: &str, own: &str, key: &str) -> Result<String, String> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|e: toml_edit::TomlError| e.to_string())?;
    let rules = document
        .entry(section)
        .or_insert(Item::Table(Table::new()))
        .as_table_mut()
        .ok_or_else(|| format!("'{section}' is not written as [{section}]"))?;
    if own == key {
        let old = rules.get_mut(own).and_then(Item::as_value_mut);
        let old = old.ok_or("the rule stands elsewhere")?;
        let decor = old.decor().clone();
        *old = Value::from("allow");
        *old.decor_mut() = decor;
    } else if rules.contains_key(key) {
        return Err(format!("there is a rule for {key}"));
    } else {
        rules.insert_formatted(&shown(key), value("allow"));
    }
    Ok(document.to_string())
}

/// What has calls asked about.
struct Asking<'s> {
    id: RuleId,
    /// Where a rule that allows it stands.
    section: &'static str,
    /// The call that it is about, if it is one.
    key: Option<&'s str>,
    /// Its key, as it was written; empty for a default.
    text: &'s str,
}

fn asking_calls<'s>(sheets: &Sheets, sheet: &'s Sheet) -> impl Iterator<Item = Asking<'s>> {
    let rules = sheet.calls.rules.iter().filter(|r| r.does == Does::Ask);
    let rules = rules.map(|rule| Asking {
        id: rule.id,
        section: "syscalls",
        key: Some(&rule.key),
        text: &rule.text,
    });
    let default = sheet
        .calls
        .default
        .filter(|(does, _)| *does == Does::Ask)
        .map(|(_, id)| Asking {
            id,
            section: "syscalls",
            key: None,
            text: "",
        });
    let net = sheet.net.by.filter(|_| sheet.net.does == Does::Ask);
    let net = net.map(|id| Asking {
        id,
        section: "net",
        key: None,
        text: match sheets.rule(id).is_some_and(|rule| rule.is_default) {
            true => "",
            false => "inet",
        },
    });
    rules.chain(default).chain(net)
}

/// A question about what guests may have chosen, so that they can't write lines of their own into it: on one line, or in an indented block.
/// `None`: it doesn't fit on the terminal, of which the user would see only the end.
fn laid_out(
    before: &str,
    what: &str,
    after: &str,
    (rows, columns): (usize, usize),
) -> Option<String> {
    // What isn't ASCII may be two cells wide.
    let cells = |c: char| if c.is_ascii() { 1 } else { 2 };
    let width = |text: &str| text.chars().map(cells).sum::<usize>();
    if "sbox: ".len() + width(before) + width(what) + width(after) < columns {
        return Some(format!("{before}{what}{after}"));
    }
    const INDENT: &str = "\n  | ";
    let room = columns.saturating_sub(INDENT.len()).max(16);
    let mut lines = 1;
    let mut filled = 0;
    let mut text = format!("{}{after}:{INDENT}", before.trim_end());
    for c in what.chars() {
        if filled + cells(c) > room {
            text += INDENT;
            (lines, filled) = (lines + 1, 0);
        }
        text.push(c);
        filled += cells(c);
    }
    // The question itself, its rule and the keys stand around it; and what shows it holds no more at once.
    (lines + 8 <= rows && text.len() < 16 << 10).then_some(text)
}

/// Rows and columns of the terminal, as far as it tells.
fn window() -> (usize, usize) {
    use std::os::fd::AsFd;
    let of = |fd| sys::terminal::window_size(fd).ok();
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let size = of(input.as_fd())
        .or_else(|| of(output.as_fd()))
        .or_else(|| of(error.as_fd()));
    match size {
        Some(size) if size.ws_row > 0 && size.ws_col > 0 => {
            (size.ws_row.into(), size.ws_col.into())
        }
        _ => (24, 80),
    }
}

/// What becomes of a key.
enum Said {
    Once,
    Run,
    Always,
    No,
}

impl Answers {
    /// Shows a question. `None`: nobody answers it, and nothing is to be remembered.
    fn prompt(
        &self,
        (before, what, after): (&str, &str, &str),
        by: RuleId,
        prompt: &dyn Fn(&str) -> Answer,
    ) -> Option<Said> {
        let Some(text) = laid_out(before, what, after, window()) else {
            self.unasked.fetch_add(1, Ordering::Relaxed);
            tell(&format!(
                "{}{after}: not asked, and refused: {} bytes of it don't fit on the terminal",
                before.trim_end(),
                what.len()
            ));
            return None;
        };
        let text = format!(
            "{text}\n  rule: {}\n  allow it? [o]nce, this [r]un, [a]lways, or any other key: no",
            self.sheets.tell(by)
        );
        match prompt(&text) {
            Answer::Key(b'o') => Some(Said::Once),
            Answer::Key(b'r') => Some(Said::Run),
            Answer::Key(b'a') => Some(Said::Always),
            Answer::Key(_) => Some(Said::No),
            Answer::Withdrawn => None,
            Answer::Nobody => {
                self.unasked.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn tell_written(written: Result<String, String>) {
        match written {
            Ok(file) => tell(&format!("{file} allows it from now on")),
            Err(why) => tell(&format!("allowed for this run only: {why}")),
        }
    }

    /// The rules that have an access to a path asked, each with whether it is of `[exec]`.
    fn asking(&self, path: &[u8], access: Access) -> Vec<(RuleId, bool)> {
        let asks =
            |effect: Effect| !effect.granted().has(access) && matches!(effect, Effect::Ask { .. });
        let lists = self.sheets.all.iter();
        let lists = lists.flat_map(|sheet| [(&sheet.files, false), (&sheet.exec, true)]);
        let asking = lists.filter_map(|(files, is_exec)| {
            let ruling = files.decide(path);
            let by = ruling.because.iter().find(|id| {
                let rules = files.rules().iter();
                rules
                    .filter(|rule| rule.id == **id)
                    .any(|rule| asks(rule.effect))
            });
            by.filter(|_| asks(ruling.effect)).map(|id| (*id, is_exec))
        });
        asking.collect()
    }

    /// Writes what allows an access to a path for good into the files of all rules that have it asked.
    fn write_path(
        &self,
        written: &mut HashMap<u32, String>,
        asking: &[(RuleId, bool)],
        path: &[u8],
        access: Access,
    ) -> Result<String, String> {
        let path = std::str::from_utf8(path).map_err(|_| "its name is no text")?;
        let literal = glob::Pattern::parse(&glob::escape(path)).map_err(|bad| bad.why)?;
        let mut file = Err("no rule asks".to_owned());
        for (by, is_exec) in asking {
            let key = glob::escape(path);
            let sheets = self.sheets.all.iter();
            let own = sheets
                .flat_map(|sheet| match is_exec {
                    true => sheet.exec.rules(),
                    false => sheet.files.rules(),
                })
                .filter(|rule| rule.id == *by);
            let patterns: Vec<_> = own.map(|rule| &rule.pattern).collect();
            // The rule as it was written, where it is about this very path, however that is spelled.
            let is_same = patterns
                .iter()
                .any(|pattern| pattern.is_within(&literal) && literal.is_within(pattern));
            let is_one = patterns.len() == 1;
            let name = self.sheets.rule(*by).map(|rule| rule.name.as_str());
            let section = if *is_exec { "exec.\"" } else { "files.\"" };
            let written_as = name.and_then(|name| name.strip_prefix(section)?.strip_suffix('"'));
            let key = match (is_same, written_as) {
                (true, Some(own)) if is_one => own,
                (false, _) if is_one || !is_exec => &key,
                _ => return Err("the rule is about several paths, or has a name".into()),
            };
            file = Ok(self.write(written, *by, |text| match (is_exec, is_same) {
                (false, _) => with_rule(text, key, access),
                (true, same) => with_allowed(text, "exec", if same { key } else { "" }, key),
            })?);
        }
        file
    }

    /// Whether a call may be made.
    fn may_call(
        &self,
        question: &Question<'_>,
        (arguments, by): (&str, &str),
        prompt: &dyn Fn(&str) -> Answer,
    ) -> bool {
        let asking = self.sheets.all.iter();
        let mut asking = asking.flat_map(|sheet| asking_calls(&self.sheets, sheet));
        let Some(rule) = asking.find(|rule| self.sheets.tell(rule.id) == by) else {
            return false;
        };
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&(String, String, bool)| known.0 == by && known.1 == question.call;
        if let Some((_, _, allowed)) = book.calls.iter().find(same) {
            return *allowed;
        }
        let before = format!("{}(", question.call);
        let after = format!(") is to be called (task {})", question.task);
        let said = match self.prompt((&before, arguments, &after), rule.id, prompt) {
            None => return false,
            Some(Said::Once) => return true,
            Some(said) => said,
        };
        if let Said::Always = said {
            let key = match rule.section {
                "net" => "inet",
                // A condition is the call's own, too.
                _ if rule.key == Some(question.call) => rule.text,
                _ => question.call,
            };
            let with = |text: &str| with_allowed(text, rule.section, rule.text, key);
            Self::tell_written(self.write(&mut book.written, rule.id, with));
        }
        let allowed = !matches!(said, Said::No);
        if book.calls.len() < MOST {
            book.calls
                .push((by.to_owned(), question.call.to_owned(), allowed));
        }
        allowed
    }
}

impl Asker for Answers {
    fn may(&self, question: &Question<'_>, prompt: &dyn Fn(&str) -> Answer) -> bool {
        let (access, path, again) = match question.about {
            About::File {
                access,
                path,
                again,
            } => (access, path, again),
            About::Call { arguments, by } => {
                return self.may_call(question, (arguments, by), prompt);
            }
        };
        let asking = self.asking(path, access);
        let ruling = self.sheets.decide(path);
        let (Effect::Ask { asked: askable, .. }, Some((by, _))) = (ruling.effect, asking.first())
        else {
            return false;
        };
        if !askable.has(access.without(ruling.effect.granted())) {
            return false;
        }
        // Held while it is asked: two programs are answered one after the other.
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &&(Vec<u8>, Access, bool)| {
            known.0 == path
                && if known.2 {
                    known.1.has(access)
                } else {
                    access.has(known.1)
                }
        };
        if let Some((_, _, allowed)) = book.known.iter().find(same) {
            return *allowed;
        }
        // An answer to an exec that has come to nothing is not for the next one.
        let before = book.once.take_if(|(task, _)| *task == question.task);
        if before.is_some_and(|(_, known)| again && known == path) {
            return true;
        }
        let before = format!("{} wants to {access} ", question.call);
        let after = format!(" (task {})", question.task);
        let shown = term::escape_bytes(path);
        let said = match self.prompt((&before, &shown, &after), *by, prompt) {
            None => return false,
            Some(Said::Once) => {
                let exec = access == Access::EXEC;
                book.once = exec.then(|| (question.task, path.to_vec()));
                return true;
            }
            Some(said) => said,
        };
        if let Said::Always = said {
            Self::tell_written(self.write_path(&mut book.written, &asking, path, access));
        }
        let allowed = !matches!(said, Said::No);
        if book.known.len() < MOST {
            book.known.push((path.to_vec(), access, allowed));
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_path_writes_lines_into_a_question() {
        let laid =
            |what: &str, size| super::laid_out("openat wants to read ", what, " (task 2)", size);
        assert_eq!(
            laid("/a", (24, 80)).as_deref(),
            Some("openat wants to read /a (task 2)")
        );
        for what in ["x".repeat(700), "\u{4e2d}".repeat(300), "x".repeat(60)] {
            let text = laid(&what, (24, 80)).unwrap();
            let mut lines = text.lines();
            assert_eq!(lines.next(), Some("openat wants to read (task 2):"));
            let mut back = String::new();
            for line in lines {
                let part = line.strip_prefix("  | ").unwrap();
                assert!(
                    part.chars()
                        .map(|c| if c.is_ascii() { 1 } else { 2 })
                        .sum::<usize>()
                        <= 75
                );
                back += part;
            }
            assert_eq!(back, what);
        }
        assert_eq!(laid(&"x".repeat(4000), (24, 80)), None);
        assert!(laid(&"x".repeat(4000), (24, 400)).is_some());
        assert_eq!(laid(&"x".repeat(200), (8, 80)), None);
    }

    use super::*;

    #[test]
    fn a_rule_is_added_and_comments_stay() {
        let before = "# mine\nsbox = 1\n\n[files]\n# ask me\n\"/a/**\" = \"ask\" # why\n\n[env]\nkeep = [\"A\"]\n";
        let read = with_rule(before, "/a/b\\*", Access::READ).unwrap();
        assert_eq!(
            read,
            "# mine\nsbox = 1\n\n[files]\n# ask me\n\"/a/**\" = \"ask\" # why\n'/a/b\\*' = \"r\"\n\n[env]\nkeep = [\"A\"]\n"
        );
        let read = read.replace("= \"r\"", "= \"r\" # by me");
        let written = with_rule(&read, "/a/b\\*", Access::WRITE.and(Access::CREATE)).unwrap();
        assert!(written.contains("= \"rwc\" # by me\n"), "{written}");
        assert!(with_rule("sbox = 1\n[files]\n\"/a\" = \"hide\"\n", "/a", Access::READ).is_err());
        let own = "sbox = 1\n[files]\n\"${cwd}/a\" = \"ask\"\n";
        let read = with_rule(own, "${cwd}/a", Access::READ).unwrap();
        assert_eq!(read, own.replace("ask", "r"));
    }
}
