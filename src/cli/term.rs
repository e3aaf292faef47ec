//! What sbox writes, and where: results to standard output, all else to standard error, nothing that a terminal
//! would obey.

use crate::plain::obeyed;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use super::exit::Exit;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What failed.
    Error,
    /// What may surprise.
    Warning,
    /// What is worth knowing.
    Note,
}

/// Writes a message to standard error. Nothing can be done if that fails, so nothing is.
///
/// Lines after the first are written as they are; bytes that a terminal would obey are made visible.
pub fn message(kind: Kind, text: &str) {
    let _ = io::stderr()
        .lock()
        .write_all(formatted(kind, text).as_bytes());
}

/// A message as it is written, in one piece.
fn formatted(kind: Kind, text: &str) -> String {
    let word = match kind {
        Kind::Error => "",
        Kind::Warning => "warning: ",
        Kind::Note => "note: ",
    };
    let mut out = String::from("sbox: ");
    out.push_str(word);
    for line in text.trim_end().split_inclusive('\n') {
        out.push_str(&escape(line.trim_end_matches('\n')));
        if line.ends_with('\n') {
            out.push('\n');
        }
    }
    out.push('\n');
    out
}

/// Writes a result to standard output.
///
/// A reader that has gone away (`sbox … | head -1`) has what it wanted. The standard library has SIGPIPE ignored,
/// so this shows as EPIPE.
pub fn print(text: &str) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            message(Kind::Error, &format!("standard output: {error}"));
            Exit::Internal
        }
        _ => Exit::Ok,
    }
}

/// Whether to write colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Plain text.
    Off,
    /// SGR sequences, ECMA-48.
    On,
}

/// The colours in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hue {
    /// Good.
    Green,
    /// Worth a look.
    Yellow,
    /// Bad.
    Red,
}

impl Colour {
    /// On if the stream is a terminal that can, and the user has not set `NO_COLOR` (no-color.org).
    pub fn of(stream: &impl IsTerminal) -> Self {
        Self::decide(
            stream.is_terminal(),
            std::env::var_os("NO_COLOR").as_deref(),
            std::env::var_os("TERM").as_deref(),
        )
    }

    fn decide(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        let refused = no_color.is_some_and(|value| !value.is_empty());
        let able = term.is_some_and(|term| !term.is_empty() && term != "dumb");
        if terminal && able && !refused {
            Self::On
        } else {
            Self::Off
        }
    }

    /// The text in a colour, or as it is.
    pub fn paint(self, hue: Hue, text: &str) -> String {
        let number = match hue {
            Hue::Green => 32,
            Hue::Yellow => 33,
            Hue::Red => 31,
        };
        match self {
            Self::Off => text.to_owned(),
            Self::On => format!("\x1b[{number}m{text}\x1b[0m"),
        }
    }
}

/// Makes visible what [`obeyed`] is about.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if obeyed(c) && c.is_ascii() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if obeyed(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// [`escape`] for bytes, such as names of files, which need not be text.
pub fn escape_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&escape(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_needs_a_terminal_that_can_and_a_user_who_wants() {
        for (terminal, no_color, term, want) in [
            (true, None, Some("xterm"), Colour::On),
            (true, Some(""), Some("xterm"), Colour::On),
            (true, Some("1"), Some("xterm"), Colour::Off),
            (true, Some("0"), Some("xterm"), Colour::Off),
            (true, None, Some("dumb"), Colour::Off),
            (true, None, None, Colour::Off),
            (false, None, Some("xterm"), Colour::Off),
        ] {
            let got = Colour::decide(terminal, no_color.map(OsStr::new), term.map(OsStr::new));
            assert_eq!(got, want, "{terminal} {no_color:?} {term:?}");
        }
        assert_eq!(Colour::Off.paint(Hue::Red, "no"), "no");
        assert_eq!(Colour::On.paint(Hue::Red, "no"), "\x1b[31mno\x1b[0m");
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        for (bytes, want) in [
            (b"plain /etc/hosts" as &[u8], "plain /etc/hosts"),
            ("Grüße, 世界".as_bytes(), "Grüße, 世界"),
            (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            (b"a\nb\tc\rd\x7f", "a\\nb\\tc\\rd\\x7f"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
            ("a\u{202e}b\u{2066}".as_bytes(), "a\\u{202e}b\\u{2066}"),
            (b"\xff\xfe.txt", "\\xff\\xfe.txt"),
        ] {
            assert_eq!(escape_bytes(bytes), want);
        }
    }

    #[test]
    fn messages_keep_their_lines_and_nothing_else() {
        let text = "no file '\x1b[2J'\n\n  hint: look\n";
        assert_eq!(
            formatted(Kind::Error, text),
            "sbox: no file '\\x1b[2J'\n\n  hint: look\n"
        );
        assert_eq!(formatted(Kind::Warning, "old"), "sbox: warning: old\n");
        assert_eq!(formatted(Kind::Note, "new"), "sbox: note: new\n");
    }
}
