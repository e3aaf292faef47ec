//! Reads minijail's `.policy` (minijail0(5)): a line for each call.
//!
//! ```text
//! line   = calls ":" filter | "@include" PATH | "@frequency" PATH | "@default" action          \ at the end: it goes on
//! calls  = call | "{" call { "," call } "}"          call = NAME [ "[" "arch" "=" NAME { "," NAME } "]" ]
//! filter = one | "{" one { "," one } "}"             one  = action | tests [ ";" action ]
//! tests  = all { "||" all }     all = test { "&&" test }     test = "arg"N ( "==" "!=" "<" "<=" ">" ">=" "&" "in" ) value
//! ```

use super::{Action, Cond, Format, Host, Op, Profile, Remark, Rule, Weight};
use crate::policy::lang::{Fault, Source, Sources, Where};
use crate::sys::Errno;
use std::path::{Path, PathBuf};

/// Reads a file that is included, by its path.
pub type Includes<'i> = &'i dyn Fn(&Path) -> Result<String, String>;

/// Files within files.
const MOST_DEEP: usize = 10;
const WORDS: [&str; 9] = [
    "1",
    "allow",
    "kill",
    "kill-process",
    "kill-thread",
    "log",
    "return",
    "trace",
    "trap",
];

/// Reads a policy and what it includes.
pub(super) fn read(
    name: &str,
    text: String,
    includes: Includes<'_>,
    host: &Host<'_>,
) -> Result<Profile, (Vec<Fault>, Sources)> {
    let mut reader = Reader {
        includes,
        host,
        profile: Profile {
            sources: Sources::default(),
            format: Format::Minijail,
            default: Action::KillProcess,
            default_at: Where::default(),
            rules: Vec::new(),
            remarks: Vec::new(),
        },
    };
    match reader.file(name, text, 0) {
        Ok(()) => Ok(reader.profile),
        Err(fault) => Err((vec![fault], reader.profile.sources)),
    }
}

struct Reader<'r> {
    includes: Includes<'r>,
    host: &'r Host<'r>,
    profile: Profile,
}

/// A token and where it stands.
type Token = (String, Where);

impl Reader<'_> {
    fn file(&mut self, name: &str, text: String, depth: usize) -> Result<(), Fault> {
        let number = u32::try_from(self.profile.sources.0.len()).unwrap_or(u32::MAX);
        let source = Source::new(name.to_owned(), text.clone());
        self.profile.sources.0.push(source);
        let mut tokens: Vec<Token> = Vec::new();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let goes_on = tokenize(line, number, start, &mut tokens)?;
            start += line.len();
            if !goes_on {
                let line = std::mem::take(&mut tokens);
                self.statement(Line::new(line), name, depth)?;
            }
        }
        self.statement(Line::new(tokens), name, depth)
    }

    fn statement(&mut self, mut line: Line, name: &str, depth: usize) -> Result<(), Fault> {
        let Some((first, at)) = line.peek() else {
            return Ok(());
        };
        match first.as_str() {
            "@include" | "@frequency" => {
                line.next("a statement")?;
                let (path, path_at) = line.next("a path")?;
                line.end()?;
                if first == "@frequency" {
                    let what = "@frequency orders the filter by use; sbox needs no such order";
                    self.remark(Weight::Note, at, what);
                    return Ok(());
                }
                let above = Path::new(name).parent().map(Path::to_owned);
                let path: PathBuf = above.unwrap_or_default().join(path);
                if depth == MOST_DEEP {
                    let what = format!("more than {MOST_DEEP} files within files");
                    return Err(Fault::at(path_at, what).hint("does one include itself?"));
                }
                let text = (self.includes)(&path)
                    .map_err(|why| Fault::at(path_at, format!("{}: {why}", path.display())))?;
                self.file(&path.to_string_lossy(), text, depth + 1)
            }
            "@default" => {
                line.next("a statement")?;
                let action_at = line.at();
                let action = self.action(&mut line)?;
                line.end()?;
                (self.profile.default, self.profile.default_at) = (action, action_at);
                match action.strictness() {
                    2 => Ok(()),
                    _ => Err(
                        Fault::at(action_at, "a default can't allow, nor deny with an errno")
                            .hint("known: kill, kill-process, kill-thread, trap"),
                    ),
                }
            }
            word if word.starts_with('@') => {
                Err(Fault::at(at, format!("unknown statement '{word}'"))
                    .nearest(word, ["@default", "@frequency", "@include"]))
            }
            _ => self.rule(line),
        }
    }

    fn remark(&mut self, weight: Weight, at: Where, what: impl Into<String>) {
        self.profile.remarks.push(Remark::new(weight, at, what));
    }

    fn rule(&mut self, mut line: Line) -> Result<(), Fault> {
        let mut calls = Vec::new();
        if line.take("{") {
            loop {
                calls.extend(self.called(&mut line)?);
                if line.take("}") {
                    break;
                }
                line.want(",", "a list of calls is never closed")?;
            }
        } else {
            calls.extend(self.called(&mut line)?);
        }
        line.want(":", "wanted ':' and what becomes of the call")?;
        let mut filters = Vec::new();
        if line.take("{") {
            loop {
                filters.extend(self.filter(&mut line)?);
                if line.take("}") {
                    break;
                }
                line.want(",", "a list of filters is never closed")?;
            }
        } else {
            filters = self.filter(&mut line)?;
        }
        line.end()?;
        let mut actions = filters.iter().filter(|(when, _)| when.is_some());
        if let Some((_, first)) = actions.next()
            && actions.any(|(_, action)| action != first)
            && let Some((_, at)) = calls.first()
        {
            let what = "the first filter that holds decides in minijail; here the strictest does";
            self.remark(Weight::Stricter, *at, what);
        }
        for (call, at) in calls {
            let known = self.profile.rules.iter().find(|rule| rule.call == call);
            if let Some(known) = known {
                let first = self.profile.sources.place(known.at);
                let fault = Fault::at(at, format!("'{call}' has a line already ({first})"));
                return Err(fault.hint("keep one of them"));
            }
            let rule = |(when, action): &(Option<Vec<Vec<Cond>>>, Action)| Rule {
                call: call.clone(),
                at,
                action: *action,
                when: when.clone(),
            };
            let rules: Vec<Rule> = filters.iter().map(rule).collect();
            self.profile.rules.extend(rules);
        }
        Ok(())
    }

    /// A call; none: it is for other machines.
    fn called(&mut self, line: &mut Line) -> Result<Option<Token>, Fault> {
        let (name, at) = line.next("the name of a call")?;
        let word = |c: char| c.is_ascii_alphanumeric() || "_-@".contains(c);
        if !name.chars().all(word) {
            return Err(Fault::at(at, format!("'{name}' is no name of a call")));
        }
        if name.contains('@') {
            let what = format!("'{name}' is a list of calls that minijail's build makes");
            return Err(Fault::at(at, what).hint("name its calls"));
        }
        if !line.take("[") {
            return Ok(Some((name, at)));
        }
        let (key, key_at) = line.next("arch")?;
        if key != "arch" {
            return Err(Fault::at(key_at, format!("unknown key '{key}'")).nearest(&key, ["arch"]));
        }
        line.want("=", "wanted '=' and names of machines")?;
        let mut ours = false;
        loop {
            ours |= line.next("a machine")?.0 == "x86_64";
            if line.take("]") {
                return Ok(ours.then_some((name, at)));
            }
            line.want(",", "a bracket is never closed")?;
        }
    }

    /// What becomes of a call: filters in order, the last of them perhaps without tests.
    #[expect(clippy::type_complexity, reason = "the parts of a rule")]
    fn filter(&mut self, line: &mut Line) -> Result<Vec<(Option<Vec<Vec<Cond>>>, Action)>, Fault> {
        let at = line.at();
        if !line.peek().is_some_and(|(word, _)| is_argument(&word)) {
            return Ok(vec![(None, self.action(line)?)]);
        }
        let mut any = Vec::new();
        loop {
            let mut all = vec![self.test(line)?];
            while line.take("&&") {
                all.push(self.test(line)?);
            }
            any.push(all);
            if !line.take("||") {
                break;
            }
        }
        if !line.take(";") {
            return Ok(vec![(Some(any), Action::Allow)]);
        }
        let action = self.action(line)?;
        Ok(match action {
            // minijail0 itself takes this for what becomes of the others; its compiler for what becomes of these.
            Action::Errno(_) => {
                let what = "'return' behind tests is for calls for which they don't hold, as minijail0 -S reads it \
                            (compile_seccomp_policy.py reads the contrary)";
                self.remark(Weight::Stricter, at, what);
                vec![(Some(any), Action::Allow), (None, action)]
            }
            action => vec![(Some(any), action)],
        })
    }

    fn action(&mut self, line: &mut Line) -> Result<Action, Fault> {
        let (word, at) = line.next("an action")?;
        Ok(match word.as_str() {
            "1" | "allow" => Action::Allow,
            "kill" | "kill-process" => Action::KillProcess,
            "kill-thread" => Action::KillThread,
            "trap" => Action::Trap,
            "trace" => Action::Trace,
            "log" => Action::Log,
            "return" => {
                let (name, at) = line.next("an errno")?;
                let known = (1..134).find(|raw| format!("{:?}", Errno::from_raw(*raw)) == name);
                match known
                    .and_then(|raw| u64::try_from(raw).ok())
                    .or_else(|| number(&name))
                {
                    Some(errno) => Action::Errno(errno),
                    None => return Err(Fault::at(at, format!("there is no errno '{name}'"))),
                }
            }
            _ => return Err(Fault::at(at, format!("'{word}' is no action")).nearest(&word, WORDS)),
        })
    }

    fn test(&mut self, line: &mut Line) -> Result<Cond, Fault> {
        let (word, at) = line.next("an argument, arg0 to arg5")?;
        let arg = word.strip_prefix("arg").and_then(|n| n.parse().ok());
        let arg = arg.filter(|arg: &usize| *arg < 6).ok_or_else(|| {
            Fault::at(at, format!("'{word}' is no argument")).hint("arg0 to arg5")
        })?;
        let (op, op_at) = line.next("a comparison")?;
        let value = self.value(line)?;
        let (op, value) = match op.as_str() {
            "==" => (Op::Eq, value),
            "!=" => (Op::Ne, value),
            "<" => (Op::Lt, value),
            "<=" => (Op::Le, value),
            ">" => (Op::Gt, value),
            ">=" => (Op::Ge, value),
            "&" => (Op::Bits, value),
            // No bits but these.
            "in" => (Op::Masked(!value), 0),
            _ => {
                let fault = Fault::at(op_at, format!("'{op}' is no comparison"));
                return Err(fault.nearest(&op, ["==", "!=", "<", "<=", ">", ">=", "&", "in"]));
            }
        };
        Ok(Cond { arg, op, value })
    }

    fn value(&mut self, line: &mut Line) -> Result<u64, Fault> {
        let mut value = 0;
        loop {
            let not = line.take("~");
            let part = if line.take("(") {
                let inner = self.value(line)?;
                line.want(")", "a parenthesis is never closed")?;
                inner
            } else {
                let (word, at) = line.next("a number or a constant")?;
                let constant = self.host.words.constant;
                let known = || constant.and_then(|of| of(&word)).or_else(|| more(&word));
                number(&word).or_else(known).ok_or_else(|| {
                    Fault::at(
                        at,
                        format!("'{word}' is no number and no constant that is known"),
                    )
                    .hint("write its number")
                })?
            };
            value |= if not { !part } else { part };
            if !line.take("|") {
                return Ok(value);
            }
        }
    }
}

fn is_argument(word: &str) -> bool {
    let digits = word.strip_prefix("arg").unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Constants that are in policies of others, and not among those that sbox prints.
fn more(name: &str) -> Option<u64> {
    const MORE: [(&str, i32); 21] = [
        ("MADV_NORMAL", libc::MADV_NORMAL),
        ("MADV_WILLNEED", libc::MADV_WILLNEED),
        ("MADV_DONTNEED", libc::MADV_DONTNEED),
        ("MADV_FREE", libc::MADV_FREE),
        ("MADV_REMOVE", libc::MADV_REMOVE),
        ("MADV_DONTFORK", libc::MADV_DONTFORK),
        ("MADV_MERGEABLE", libc::MADV_MERGEABLE),
        ("MADV_HUGEPAGE", libc::MADV_HUGEPAGE),
        ("MADV_NOHUGEPAGE", libc::MADV_NOHUGEPAGE),
        ("MADV_DONTDUMP", libc::MADV_DONTDUMP),
        ("FUTEX_WAIT", libc::FUTEX_WAIT),
        ("FUTEX_WAKE", libc::FUTEX_WAKE),
        ("FUTEX_PRIVATE_FLAG", libc::FUTEX_PRIVATE_FLAG),
        ("IPPROTO_UDP", libc::IPPROTO_UDP),
        ("IPPROTO_ICMP", libc::IPPROTO_ICMP),
        ("SO_RCVBUF", libc::SO_RCVBUF),
        ("SO_SNDBUF", libc::SO_SNDBUF),
        ("SO_PEERCRED", libc::SO_PEERCRED),
        ("SO_REUSEADDR", libc::SO_REUSEADDR),
        ("SO_ERROR", libc::SO_ERROR),
        ("SECCOMP_MODE_FILTER", 2),
    ];
    let found = MORE.iter().find(|(known, _)| *known == name);
    found.and_then(|(_, value)| u64::try_from(*value).ok())
}

/// Decimal, `0x`, `0o`; a negative number is its complement.
fn number(word: &str) -> Option<u64> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word),
    };
    let (digits, radix) = match digits.get(..2) {
        Some("0x" | "0X") => (digits.get(2..)?, 16),
        Some("0o" | "0O") => (digits.get(2..)?, 8),
        _ => (digits, 10),
    };
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

/// The tokens of a line behind those that were there. True: the line goes on.
fn tokenize(line: &str, file: u32, start: usize, tokens: &mut Vec<Token>) -> Result<bool, Fault> {
    let text = line.trim_end_matches(['\n', '\r']);
    let code = text.split('#').next().unwrap_or_default();
    let goes_on = text.ends_with('\\');
    let code = code.trim_end_matches('\\');
    let mut rest = code;
    loop {
        rest = rest.trim_start();
        let at = code.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            return Ok(goes_on);
        };
        let path = tokens
            .last()
            .is_some_and(|(word, _)| tokens.len() == 1 && word.starts_with('@'));
        let word = |c: char| c.is_ascii_alphanumeric() || "_-@".contains(c);
        let length = match rest.get(..2) {
            _ if path => rest.find(char::is_whitespace).unwrap_or(rest.len()),
            Some("||" | "&&" | "==" | "!=" | "<=" | ">=") => 2,
            _ if word(first) => rest.find(|c| !word(c)).unwrap_or(rest.len()),
            _ if ":;,~()[]{}|&=<>".contains(first) => 1,
            _ => {
                let at = Where::of(file, Some(start + at..start + at + first.len_utf8()));
                return Err(Fault::at(
                    at,
                    format!("'{}' means nothing here", first.escape_default()),
                ));
            }
        };
        let (token, behind) = rest.split_at(length);
        let at = Where::of(file, Some(start + at..start + at + length));
        tokens.push((token.to_owned(), at));
        rest = behind;
    }
}

/// The tokens of one statement.
struct Line {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    /// Where the last one stood.
    last: Where,
}

impl Line {
    fn new(tokens: Vec<Token>) -> Self {
        Self {
            tokens: tokens.into_iter().peekable(),
            last: Where::default(),
        }
    }

    fn peek(&mut self) -> Option<Token> {
        self.tokens.peek().cloned()
    }

    fn at(&mut self) -> Where {
        self.peek().map_or(self.last, |(_, at)| at)
    }

    fn next(&mut self, wanted: &str) -> Result<Token, Fault> {
        let token = self.tokens.next();
        let token =
            token.ok_or_else(|| Fault::at(self.last, format!("behind this, wanted {wanted}")))?;
        self.last = token.1;
        Ok(token)
    }

    fn take(&mut self, token: &str) -> bool {
        let there = self.peek().is_some_and(|(known, _)| known == token);
        if there && let Some((_, at)) = self.tokens.next() {
            self.last = at;
        }
        there
    }

    fn want(&mut self, token: &str, why: &str) -> Result<(), Fault> {
        match self.take(token) {
            true => Ok(()),
            false => Err(Fault::at(self.at(), why.to_owned())),
        }
    }

    fn end(&mut self) -> Result<(), Fault> {
        match self.peek() {
            None => Ok(()),
            Some((word, at)) => Err(Fault::at(at, format!("'{word}' is too much here"))),
        }
    }
}
