//! Path patterns: what they match, and which of two is the narrower.
//!
//! A pattern is a sequence of steps over the bytes of a path; a set of positions in it is a state of a
//! finite automaton. Comparing two patterns runs both at once over all inputs that make a difference to
//! either, so "narrower" is true inclusion of the sets of paths, not a matter of spelling or length.
//!
//! Paths are those of the view, clean and absolute; the root is the empty text here, `/a/b` is itself.

use std::collections::{HashMap, HashSet, VecDeque};

/// A set of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bytes([u64; 4]);

impl Bytes {
    const EMPTY: Self = Self([0; 4]);

    /// All that can stand in a name.
    fn name() -> Self {
        let mut all = Self([u64::MAX; 4]);
        all.remove(b'/');
        all.remove(0);
        all
    }

    fn insert(&mut self, byte: u8) {
        if let Some(word) = self.0.get_mut(usize::from(byte >> 6)) {
            *word |= 1 << (byte & 63);
        }
    }

    fn remove(&mut self, byte: u8) {
        if let Some(word) = self.0.get_mut(usize::from(byte >> 6)) {
            *word &= !(1 << (byte & 63));
        }
    }

    fn has(&self, byte: u8) -> bool {
        self.0
            .get(usize::from(byte >> 6))
            .is_some_and(|word| word & (1 << (byte & 63)) != 0)
    }

    fn least(&self) -> Option<u8> {
        // Letters read better in examples than control bytes.
        (b'a'..=b'z').chain(1..=255).find(|&byte| self.has(byte))
    }
}

/// One position of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// This byte.
    Byte(u8),
    /// One byte of the set.
    One(Bytes),
    /// Any number of bytes of a name.
    Star,
    /// Any number of components; the two that follow are its inside.
    Deep,
    /// Behind the slash of a component of [`Step::Deep`].
    DeepFirst,
    /// Within a component of [`Step::Deep`].
    DeepRest,
}

/// A pattern of paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: String,
    steps: Box<[Step]>,
    literal: Box<[u8]>,
}

/// What is wrong with a pattern, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern {
    /// What is wrong.
    pub why: String,
    /// Byte offset in the pattern.
    pub at: usize,
}

fn bad<T>(at: usize, why: &str) -> Result<T, BadPattern> {
    let why = why.to_owned();
    Err(BadPattern { why, at })
}

/// Takes glob characters for themselves, as the values of variables are.
pub fn escape(literal: &str) -> String {
    let mut out = String::with_capacity(literal.len());
    for c in literal.chars() {
        if "*?[]{}\\$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// `{a,b}` is short for two patterns. Braces don't nest.
pub fn braces(text: &str) -> Result<Vec<String>, BadPattern> {
    let mut depth = None;
    let mut skip = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if skip => skip = false,
            '\\' => skip = true,
            '{' if depth.is_some() => return bad(at, "braces don't nest"),
            '{' => depth = Some(at),
            '}' => {
                let Some(open) = depth else {
                    return bad(at, "this brace was never opened");
                };
                let before = text.get(..open).unwrap_or_default();
                let inner = text.get(open + 1..at).unwrap_or_default();
                let mut all = Vec::new();
                for rest in braces(text.get(at + 1..).unwrap_or_default())? {
                    all.extend(inner.split(',').map(|part| format!("{before}{part}{rest}")));
                }
                if all.len() > 4096 {
                    return bad(open, "these braces stand for more than 4096 patterns");
                }
                return Ok(all);
            }
            _ => {}
        }
    }
    match depth {
        Some(at) => bad(at, "this brace is never closed"),
        None => Ok(vec![text.to_owned()]),
    }
}

impl Pattern {
    /// Reads a pattern without braces and variables.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let body = match text.strip_prefix('/') {
            Some(rest) => rest,
            None if text == "**" || text.starts_with("**/") => text,
            None => {
                return bad(0, "a pattern starts with / or **/");
            }
        };
        let mut at = text.len() - body.len();
        let mut steps = Vec::new();
        if !body.is_empty() {
            for part in body.split('/') {
                component(part, at, &mut steps)?;
                at += part.len() + 1;
            }
        }
        if steps.len() > 4096 {
            return bad(0, "this pattern is longer than any path");
        }
        let literal = steps.iter().map_while(|step| match step {
            Step::Byte(byte) => Some(*byte),
            _ => None,
        });
        Ok(Self {
            text: text.to_owned(),
            literal: literal.collect(),
            steps: steps.into(),
        })
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What all that it matches begins with.
    pub fn literal(&self) -> &[u8] {
        &self.literal
    }

    /// The one path that it stands for, or the top of the one tree.
    pub fn place(&self) -> Option<(&[u8], Reach)> {
        match self.steps.get(self.literal.len()..)? {
            [] => Some((&self.literal, Reach::Path)),
            [Step::Deep, Step::DeepFirst, Step::DeepRest] => Some((&self.literal, Reach::Tree)),
            _ => None,
        }
    }

    /// The first path of the shortest that match: equal patterns have the same.
    pub(super) fn shortest(&self) -> Vec<u8> {
        let one = |step: &Step| match step {
            Step::Byte(byte) => Some(*byte),
            Step::One(set) => set.least(),
            _ => None,
        };
        self.steps.iter().filter_map(one).collect()
    }

    /// True if the path matches.
    pub fn matches(&self, path: &[u8]) -> bool {
        let mut set = self.start();
        for &byte in path {
            set = self.advance(&set, byte);
        }
        self.accepts(&set)
    }

    /// Where matching starts.
    fn start(&self) -> Vec<u32> {
        let mut set = Vec::new();
        self.close(0, &mut set);
        set.sort_unstable();
        set
    }

    /// Adds a position and all that are reached from it without a byte.
    pub(super) fn close(&self, at: u32, set: &mut Vec<u32>) {
        if set.contains(&at) {
            return;
        }
        set.push(at);
        match self.steps.get(at as usize) {
            Some(Step::Star) => self.close(at + 1, set),
            Some(Step::Deep) => self.close(at + 3, set),
            Some(Step::DeepRest) => self.close(at - 2, set),
            _ => {}
        }
    }

    /// Adds the positions behind one byte.
    pub(super) fn behind(&self, at: u32, byte: u8, set: &mut Vec<u32>) {
        let named = byte != b'/' && byte != 0;
        match self.steps.get(at as usize) {
            Some(Step::Byte(wanted)) if *wanted == byte => self.close(at + 1, set),
            Some(Step::One(wanted)) if wanted.has(byte) => self.close(at + 1, set),
            Some(Step::Star) if named => self.close(at, set),
            Some(Step::Deep) if byte == b'/' => self.close(at + 1, set),
            Some(Step::DeepFirst) if named => self.close(at + 1, set),
            Some(Step::DeepRest) if named => self.close(at, set),
            _ => {}
        }
    }

    fn advance(&self, set: &[u32], byte: u8) -> Vec<u32> {
        let mut next = Vec::new();
        for &at in set {
            self.behind(at, byte, &mut next);
        }
        next.sort_unstable();
        next
    }

    /// True of a position if the pattern ends there.
    pub(super) fn ends(&self, at: u32) -> bool {
        at as usize == self.steps.len()
    }

    fn accepts(&self, set: &[u32]) -> bool {
        set.iter().any(|&at| self.ends(at))
    }

    /// True if every path that matches this matches the other.
    pub fn is_within(&self, other: &Self) -> bool {
        search(self, other, |mine, theirs| mine && !theirs).is_none()
    }

    /// A path that matches both.
    pub fn common(&self, other: &Self) -> Option<Vec<u8>> {
        search(self, other, |mine, theirs| mine && theirs)
    }
}

/// How far a pattern without wildcards in its middle reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The path alone.
    Path,
    /// It and all below.
    Tree,
}

/// Reads one component.
fn component(part: &str, start: usize, steps: &mut Vec<Step>) -> Result<(), BadPattern> {
    if part == "**" {
        // Two in a row mean what one means.
        if !matches!(steps.last(), Some(Step::DeepRest)) {
            steps.extend([Step::Deep, Step::DeepFirst, Step::DeepRest]);
        }
        return Ok(());
    }
    match part {
        "" => {
            return bad(
                start,
                "an empty component: write one / here, and none at the end",
            );
        }
        "." | ".." => return bad(start, "patterns are of clean paths, without . and .."),
        _ => {}
    }
    steps.push(Step::Byte(b'/'));
    let first = steps.len();
    let bytes = part.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'*' if bytes.get(at + 1) == Some(&b'*') => {
                return bad(start + at, "** must be a whole component");
            }
            b'*' => steps.push(Step::Star),
            b'?' => steps.push(Step::One(Bytes::name())),
            b'[' => {
                let (set, end) = class(bytes, at, start)?;
                steps.push(Step::One(set));
                at = end;
            }
            b'\\' => {
                at += 1;
                match bytes.get(at) {
                    Some(&taken) => steps.push(Step::Byte(taken)),
                    None => return bad(start + at - 1, "nothing follows this backslash"),
                }
            }
            0 => return bad(start + at, "no path has a NUL byte"),
            byte => steps.push(Step::Byte(byte)),
        }
        at += 1;
    }
    // A name has at least one byte.
    if steps.iter().skip(first).all(|step| *step == Step::Star) {
        steps.insert(first, Step::One(Bytes::name()));
    }
    Ok(())
}

/// `[a-z]`, `[!a-z]`. Answers the set and where its bracket closes.
fn class(bytes: &[u8], open: usize, start: usize) -> Result<(Bytes, usize), BadPattern> {
    let mut at = open + 1;
    let negated = matches!(bytes.get(at), Some(b'!' | b'^'));
    at += usize::from(negated);
    let mut set = if negated { Bytes::name() } else { Bytes::EMPTY };
    let first = at;
    loop {
        let Some(&low) = bytes.get(at) else {
            return bad(start + open, "this bracket is never closed");
        };
        if low == b']' && at > first {
            break;
        }
        let high = match (bytes.get(at + 1), bytes.get(at + 2)) {
            (Some(b'-'), Some(&high)) if high != b']' => {
                at += 2;
                high
            }
            _ => low,
        };
        if low > high {
            return bad(start + at, "this range runs backwards");
        }
        if !low.is_ascii() || !high.is_ascii() {
            return bad(start + at, "brackets hold ASCII characters only");
        }
        for byte in low..=high {
            if negated {
                set.remove(byte);
            } else {
                set.insert(byte);
            }
        }
        at += 1;
    }
    Ok((set, at))
}

/// Bytes that make a difference to some of the patterns, one of each sort.
pub(super) fn alphabet<'p>(patterns: impl IntoIterator<Item = &'p Pattern>) -> Vec<u8> {
    let mut literal = Bytes::EMPTY;
    let mut sets = HashSet::new();
    for step in patterns.into_iter().flat_map(|p| p.steps.iter()) {
        match step {
            Step::Byte(byte) => literal.insert(*byte),
            Step::One(set) => {
                sets.insert(*set);
            }
            _ => {}
        }
    }
    literal.insert(b'/');
    let mut seen = HashSet::new();
    let mut out = Vec::new();
    // Letters first: they make the examples.
    for byte in (b'a'..=b'z').chain(b'0'..=b'9').chain(1..=255) {
        let kind: (Option<u8>, Vec<bool>) = (
            literal.has(byte).then_some(byte),
            sets.iter().map(|set| set.has(byte)).collect(),
        );
        if seen.insert(kind) {
            out.push(byte);
        }
    }
    out
}

/// The shortest path at which what the two patterns say is what is looked for.
fn search(a: &Pattern, b: &Pattern, wanted: impl Fn(bool, bool) -> bool) -> Option<Vec<u8>> {
    type Pair = (Vec<u32>, Vec<u32>);
    let letters = alphabet([a, b]);
    let first: Pair = (a.start(), b.start());
    let mut from: HashMap<Pair, Option<(Pair, u8)>> = HashMap::from([(first.clone(), None)]);
    let mut queue = VecDeque::from([first]);
    while let Some(pair) = queue.pop_front() {
        if wanted(a.accepts(&pair.0), b.accepts(&pair.1)) {
            let mut path = Vec::new();
            let mut at = &pair;
            while let Some(Some((before, byte))) = from.get(at) {
                path.push(*byte);
                at = before;
            }
            path.reverse();
            return Some(path);
        }
        for &byte in &letters {
            let next = (a.advance(&pair.0, byte), b.advance(&pair.1, byte));
            // All that is looked for matches the first.
            if !next.0.is_empty() && !from.contains_key(&next) {
                from.insert(next.clone(), Some((pair.clone(), byte)));
                queue.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn patterns_match_what_they_say() {
        for (pattern, yes, no) in [
            ("/a", "/a", "/a/b"),
            ("/a/**", "/a", "/ab"),
            ("/a/**", "/a/b/c", "/"),
            ("/a/*", "/a/b", "/a"),
            ("/a/*", "/a/bc", "/a/b/c"),
            ("**/.env", "/.env", "/.envx"),
            ("**/.env", "/w/src/.env", "/w/.env/x"),
            ("/a/**/b", "/a/b", "/a/xb"),
            ("/a/**/b", "/a/x/y/b", "/a/b/x"),
            ("/a?c", "/abc", "/a/c"),
            ("/[a-c]*", "/bx", "/d"),
            ("/[!a]", "/b", "/a"),
            ("/a\\*", "/a*", "/ab"),
            ("/**", "", "x"),
        ] {
            let no = if no == "/" { "" } else { no };
            assert!(p(pattern).matches(yes.as_bytes()), "{pattern} {yes}");
            assert!(!p(pattern).matches(no.as_bytes()), "{pattern} {no}");
        }
    }

    #[test]
    fn narrower_is_inclusion_not_spelling() {
        for (a, b, within, back) in [
            ("/w/src/**", "/w/**", true, false),
            ("/w/*.c", "/w/**", true, false),
            ("/w/?*", "/w/*", true, true),
            ("/w/[a-c]", "/w/?", true, false),
            ("/w/**/**", "/w/**", true, true),
            ("**/.env", "/w/**", false, false),
            ("/a/**/b/**", "/a/**", true, false),
            ("/a/*/b", "/a/**/b", true, false),
        ] {
            assert_eq!(p(a).is_within(&p(b)), within, "{a} {b}");
            assert_eq!(p(b).is_within(&p(a)), back, "{b} {a}");
        }
        assert_eq!(
            p("**/.env").common(&p("/w/**")).as_deref(),
            Some(&b"/w/.env"[..])
        );
        assert_eq!(p("/w/*.c").common(&p("/w/*.h")), None);
    }

    /// The search agrees with trying all short paths.
    #[test]
    fn inclusion_is_what_trying_everything_says() {
        let names = ["", "/a", "/b", "/ab", "/ba", "/aa"];
        let mut paths: Vec<String> = vec![String::new()];
        for _ in 0..3 {
            paths = paths
                .iter()
                .flat_map(|p| names.map(|n| format!("{p}{n}")))
                .collect();
        }
        let patterns: Vec<Pattern> = [
            "/a", "/a/**", "**/a", "/*", "/*/a", "/a*", "/?", "/[ab]", "**/a/**", "/**/b", "/**",
            "/a/*", "/*a/**", "/*b*",
        ]
        .map(p)
        .into();
        for a in &patterns {
            for b in &patterns {
                let tried = paths.iter().map(|x| x.as_bytes());
                let counter = tried.clone().find(|x| a.matches(x) && !b.matches(x));
                if counter.is_some() {
                    assert!(!a.is_within(b), "{} {}", a.text(), b.text());
                }
                let both = tried.clone().any(|x| a.matches(x) && b.matches(x));
                assert_eq!(both, a.common(b).is_some(), "{} {}", a.text(), b.text());
                if let Some(witness) = search(a, b, |x, y| x && !y) {
                    assert!(a.matches(&witness) && !b.matches(&witness));
                } else {
                    assert!(counter.is_none(), "{} {}", a.text(), b.text());
                }
            }
        }
    }
}
