//! Text that does no more than stand there.

use std::fmt::Write as _;

/// Characters that a terminal would obey, or that could make text look like other text: controls (C0, DEL, C1), line separators, and
/// marks that change the direction of writing.
pub fn obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A string of TOML (a basic one) that has no such character.
pub fn toml(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if obeyed(c) => {
                // Writing to a String cannot fail. All of them are below U+10000.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_toml_and_say_the_same() {
        for text in [
            "a",
            "\"\\",
            "\u{1b}[2J\n\t\u{7f}",
            "\u{9b}é\u{202e}x",
            "]\n[files]",
        ] {
            let quoted = toml(text);
            assert!(!quoted.chars().any(obeyed), "{quoted}");
            let value: toml_edit::Value = quoted.parse().unwrap();
            assert_eq!(value.as_str(), Some(text), "{quoted}");
        }
    }
}
