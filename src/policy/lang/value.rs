//! What a value of a rule says: rights, or an action.

use super::calls::Fake;
use super::check::Checker;
use super::fault::{Fault, Where};
use super::read::{Raw, Setting};
use crate::policy::Access;
use crate::policy::files::LETTERS;
use crate::sys::Errno;
use toml_edit::{Datetime, Offset};

/// Words for rights and actions, as hints list them.
pub(super) const WORDS: [&str; 11] = [
    "r", "ro", "rx", "rw", "rwx", "list", "hide", "deny", "kill", "ask", "fake",
];
/// The same for what isn't files.
pub(super) const ACTIONS: [&str; 5] = ["allow", "deny", "kill", "ask", "fake"];

/// What a value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    Grant(Access),
    Allow,
    Deny(Option<Errno>),
    Hide,
    Ask,
    Kill,
    Fake(Fake),
}

impl Checker<'_> {
    /// A word of a value; in a table that of `do`.
    pub(super) fn says(&mut self, setting: &Setting, known: &[&str]) -> Option<Says> {
        let result = self.word(setting, known);
        self.or_fault(result)
    }

    pub(super) fn word(&mut self, setting: &Setting, known: &[&str]) -> Result<Says, Fault> {
        let (text, at) = match &setting.value {
            Raw::Text(text) => (text.clone(), setting.value_at),
            Raw::Table(parts) => {
                const KEYS: [&str; 6] = ["do", "errno", "fake", "log", "why", "id"];
                for part in parts {
                    match (part.key.as_str(), &part.value) {
                        ("log", Raw::Truth(_)) | ("do" | "errno" | "why" | "id", Raw::Text(_)) => {}
                        ("fake", _) if known.contains(&"fake") => {}
                        ("fake", _) => {
                            return Err(Fault::at(part.at, "nothing can be faked here"));
                        }
                        (key, _) if KEYS.contains(&key) => {
                            let wanted = if key == "log" {
                                "true or false"
                            } else {
                                "a text in quotes"
                            };
                            return Err(Fault::at(
                                part.value_at,
                                format!("'{key}' wants {wanted}"),
                            ));
                        }
                        (key, _) => {
                            return Err(Fault::at(
                                part.at,
                                format!("unknown key '{key}' of a rule"),
                            )
                            .nearest(key, KEYS));
                        }
                    }
                }
                let part = |name: &str| parts.iter().find(|p| p.key == name);
                if let Some(fake) = part("fake") {
                    if let Some(other) = part("do").or(part("errno")) {
                        let what = format!("'{}' is too much where there is 'fake'", other.key);
                        return Err(Fault::at(other.at, what));
                    }
                    return faked(fake).map(Says::Fake);
                }
                let Some(done) = part("do") else {
                    return Err(Fault::at(setting.value_at, "a rule in braces needs 'do'")
                        .hint("{ do = \"deny\", why = \"…\" }"));
                };
                let mut text = done.text()?.to_owned();
                if let Some(errno) = part("errno") {
                    if text != "deny" {
                        return Err(Fault::at(errno.at, "only 'deny' has an errno"));
                    }
                    text = format!("{text} {}", errno.text()?);
                }
                (text, done.value_at)
            }
            _ => {
                return Err(Fault::at(
                    setting.value_at,
                    "this wants a text in quotes, or a table with 'do'",
                )
                .nearest("", known.iter().copied()));
            }
        };
        let mut parts = text.split_whitespace();
        let (word, more) = (parts.next().unwrap_or_default(), parts.next());
        if let Some(extra) = parts.next() {
            return Err(Fault::at(at, format!("'{extra}' is too much here")));
        }
        let says = match word {
            _ if !(known.contains(&word) || known.contains(&"rwx") && rights(word).is_some()) => {
                return Err(
                    Fault::at(at, format!("'{word}' is no action that can stand here"))
                        .nearest(word, known.iter().copied()),
                );
            }
            "deny" => Says::Deny(more.map(|name| errno(name, at)).transpose()?),
            "hide" => Says::Hide,
            "allow" => Says::Allow,
            "kill" => Says::Kill,
            "ask" => Says::Ask,
            "fake" => {
                return Err(Fault::at(at, "'fake' needs what the call answers")
                    .hint("{ fake = 0 }, or { fake = \"2026-01-01T00:00:00Z\" } for a clock"));
            }
            word => Says::Grant(rights(word).unwrap_or(Access::NONE)),
        };
        match more {
            Some(extra) if word != "deny" => Err(Fault::at(
                at,
                format!("'{extra}' is too much here: only 'deny' has an errno"),
            )),
            _ => Ok(says),
        }
    }
}

/// The rights that a word of the language stands for.
pub fn rights(word: &str) -> Option<Access> {
    match word {
        "ro" => return rights("r"),
        "rw" => return rights("rwcdm"),
        "rwx" => return rights("rwcdmx"),
        "list" => return Some(Access::LOOK.and(Access::LIST)),
        "" => return None,
        _ => {}
    }
    let mut all = Access::LOOK;
    for letter in word.chars() {
        let (_, access) = LETTERS.iter().find(|(known, _)| *known == letter)?;
        all = all.and(*access);
    }
    Some(all)
}

/// What stands behind `fake`.
fn faked(part: &Setting) -> Result<Fake, Fault> {
    match &part.value {
        Raw::Number(number) if *number < 0 => {
            let fault = Fault::at(part.value_at, "a faked result is not negative");
            Err(fault.hint("\"deny ERRNO\" is an error"))
        }
        Raw::Number(number) => Ok(Fake::Result(*number)),
        Raw::Text(text) => time(text).ok_or_else(|| {
            Fault::at(part.value_at, format!("'{text}' is no time"))
                .hint("as in \"2026-01-01T00:00:00Z\", from 1970 on")
        }),
        _ => Err(Fault::at(
            part.value_at,
            "'fake' wants a number, or a time in quotes",
        )),
    }
}

/// A time with its offset (RFC 3339).
fn time(text: &str) -> Option<Fake> {
    let parsed: Datetime = text.parse().ok()?;
    let (date, time) = (parsed.date?, parsed.time?);
    let offset = match parsed.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    // Years begin in March, so that the day that is in some of them alone is the last.
    let early = date.month <= 2;
    let year = i64::from(date.year) - i64::from(early);
    let month = i64::from(date.month) + if early { 9 } else { -3 };
    let leap_days = year / 4 - year / 100 + year / 400;
    // From the first of March of the year 0 to that of 1970 there are 719468 days, and 60 less to January.
    let days = year * 365 + leap_days + (month * 153 + 2) / 5 + i64::from(date.day) - 1 - 719_468;
    let minutes = (days * 24 + i64::from(time.hour)) * 60 + i64::from(time.minute) - offset;
    let seconds = minutes * 60 + i64::from(time.second?);
    (seconds >= 0).then(|| Fake::Time(seconds, time.nanosecond.unwrap_or(0)))
}

fn errno(name: &str, at: Where) -> Result<Errno, Fault> {
    let known = (1..134)
        .map(Errno::from_raw)
        .filter(|errno| *errno != Errno::UnknownErrno);
    let names: Vec<(String, Errno)> = known.map(|errno| (format!("{errno:?}"), errno)).collect();
    match names.iter().find(|(known, _)| known == name) {
        Some((_, errno)) => Ok(*errno),
        None => Err(Fault::at(at, format!("there is no errno '{name}'"))
            .nearest(name, names.iter().map(|(name, _)| name.as_str()))),
    }
}
