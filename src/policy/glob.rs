//! Path patterns: what they match, and which of two is the narrower.
//!
//! A pattern is a sequence of steps over the bytes of a path; a set of positions in it is a state of a
//! finite automaton. Comparing two patterns runs both at once over all inputs that make a difference to
//! either, so "narrower" is true inclusion of the sets of paths, not a matter of spelling or length.
//!
//! Paths are those of the view, clean and absolute; the root is the empty text here, `/a/b` is itself.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet, VecDeque};

/// No path has more bytes.
const MOST_STEPS: usize = 4096;

/// A set of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

    pub(super) fn has(&self, byte: u8) -> bool {
        self.0
            .get(usize::from(byte >> 6))
            .is_some_and(|word| word & (1 << (byte & 63)) != 0)
    }

    /// Its byte, if it is one.
    fn only(&self) -> Option<u8> {
        let count: u32 = self.0.iter().map(|word| word.count_ones()).sum();
        (count == 1).then(|| self.least()).flatten()
    }

    fn least(&self) -> Option<u8> {
        // Letters read better in examples than control bytes.
        (b'a'..=b'z').chain(1..=255).find(|&byte| self.has(byte))
    }
}

/// One position of a pattern. In this order, behind the end of a pattern, those that begin alike are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Step {
    /// This byte.
    Byte(u8),
    /// One byte of a set: which of those of the pattern.
    One(u16),
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
    text: Box<str>,
    /// The bytes that it begins with.
    literal: Box<[u8]>,
    /// What follows them: thousands of rules mostly have nothing there, or little.
    tail: Box<[Step]>,
    /// The sets of [`Step::One`].
    sets: Box<[Bytes]>,
}

/// A pattern that is being read.
#[derive(Default)]
struct Draft {
    literal: Vec<u8>,
    tail: Vec<Step>,
    sets: Vec<Bytes>,
}

impl Draft {
    fn len(&self) -> usize {
        self.literal.len() + self.tail.len()
    }

    fn byte(&mut self, byte: u8) {
        self.bytes(&[byte]);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if self.tail.is_empty() {
            self.literal.extend_from_slice(bytes);
        } else {
            self.tail.extend(bytes.iter().copied().map(Step::Byte));
        }
    }

    fn one(&mut self, set: Bytes) {
        if let Some(byte) = set.only().filter(|&byte| byte != b'/' && byte != 0) {
            return self.byte(byte);
        }
        let known = self.sets.iter().position(|known| *known == set);
        let which = known.unwrap_or_else(|| {
            self.sets.push(set);
            self.sets.len() - 1
        });
        // No pattern has as many steps.
        self.tail
            .push(Step::One(u16::try_from(which).unwrap_or(u16::MAX)));
    }
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
        let mut draft = Draft {
            literal: Vec::with_capacity(text.len()),
            ..Draft::default()
        };
        if !body.is_empty() {
            for part in body.split('/') {
                component(part, at, &mut draft)?;
                if draft.len() > MOST_STEPS {
                    return bad(0, "this pattern is longer than any path");
                }
                at += part.len() + 1;
            }
        }
        Ok(Self {
            text: text.into(),
            literal: draft.literal.into(),
            tail: draft.tail.into(),
            sets: draft.sets.into(),
        })
    }

    /// Where it ends.
    pub(super) fn len(&self) -> u32 {
        // It is at most `MOST_STEPS`.
        (self.literal.len() + self.tail.len()) as u32
    }

    /// What stands at a position.
    pub(super) fn step(&self, at: u32) -> Option<Step> {
        let at = at as usize;
        match self.literal.get(at) {
            Some(&byte) => Some(Step::Byte(byte)),
            None => self.tail.get(at - self.literal.len()).copied(),
        }
    }

    /// The set of a [`Step::One`].
    pub(super) fn set(&self, which: u16) -> Option<&Bytes> {
        self.sets.get(usize::from(which))
    }

    /// By their steps: patterns that begin alike stand together.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let common = self.literal.len().min(other.literal.len());
        let both = self.literal.get(..common).cmp(&other.literal.get(..common));
        both.then_with(|| {
            let alike = self.literal.len() == other.literal.len();
            // The same, quicker, as sets are numbered in the order in which they come: thousands of rules mostly differ in a name behind a
            // wildcard.
            if alike && self.sets == other.sets {
                return self.tail.cmp(&other.tail);
            }
            self.steps_from(common).cmp(other.steps_from(common))
        })
    }

    /// By what they begin with and how they are written, as people read them: the wider mostly comes first.
    pub(super) fn spelling(&self, other: &Self) -> Ordering {
        let literal = self.literal.cmp(&other.literal);
        literal.then_with(|| self.text.cmp(&other.text))
    }

    fn steps_from(&self, at: usize) -> impl Iterator<Item = (Step, Option<&Bytes>)> {
        let bytes = self.literal.get(at..).unwrap_or_default();
        let tail = self.tail.iter().map(|step| match step {
            Step::One(which) => (Step::One(0), self.set(*which)),
            step => (*step, None),
        });
        let bytes = bytes.iter().map(|&byte| (Step::Byte(byte), None));
        bytes.chain(tail)
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
        match self.tail[..] {
            [] => Some((&self.literal, Reach::Path)),
            [Step::Deep, Step::DeepFirst, Step::DeepRest] => Some((&self.literal, Reach::Tree)),
            _ => None,
        }
    }

    /// The first path of the shortest that match: equal patterns have the same.
    pub(super) fn shortest(&self) -> Cow<'_, [u8]> {
        if self.place().is_some() {
            return Cow::Borrowed(&self.literal);
        }
        let one = |step: &Step| match step {
            Step::Byte(byte) => Some(*byte),
            Step::One(which) => self.set(*which)?.least(),
            _ => None,
        };
        let tail = self.tail.iter().filter_map(one);
        self.literal.iter().copied().chain(tail).collect()
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
    fn close(&self, at: u32, set: &mut Vec<u32>) {
        if set.contains(&at) {
            return;
        }
        set.push(at);
        match self.step(at) {
            Some(Step::Star) => self.close(at + 1, set),
            Some(Step::Deep) => self.close(at + 3, set),
            Some(Step::DeepRest) => self.close(at - 2, set),
            _ => {}
        }
    }

    /// Adds the positions behind one byte.
    fn behind(&self, at: u32, byte: u8, set: &mut Vec<u32>) {
        let named = is_named(byte);
        match self.step(at) {
            Some(Step::Byte(wanted)) if wanted == byte => self.close(at + 1, set),
            Some(Step::One(which)) if self.set(which).is_some_and(|set| set.has(byte)) => {
                self.close(at + 1, set);
            }
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

    fn accepts(&self, set: &[u32]) -> bool {
        set.contains(&self.len())
    }

    /// True if every path that matches this matches the other.
    pub fn is_within(&self, other: &Self) -> bool {
        match (self.place(), other.place()) {
            (Some((path, Reach::Path)), _) => return other.matches(path),
            (Some((_, Reach::Tree)), Some((_, Reach::Path))) => return false,
            (Some((top, Reach::Tree)), Some((above, Reach::Tree))) => {
                let rest = top.strip_prefix(above);
                return rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
            }
            (None, _) | (_, None) => {}
        }
        search(self, other, |mine, theirs| mine && !theirs).is_none()
    }

    /// A path that matches both.
    pub fn common(&self, other: &Self) -> Option<Vec<u8>> {
        search(self, other, |mine, theirs| mine && theirs)
    }
}

/// A byte that can stand in a name.
pub(super) fn is_named(byte: u8) -> bool {
    byte != b'/' && byte != 0
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
fn component(part: &str, start: usize, draft: &mut Draft) -> Result<(), BadPattern> {
    if part == "**" {
        // Two in a row mean what one means.
        if !matches!(draft.tail.last(), Some(Step::DeepRest)) {
            draft
                .tail
                .extend([Step::Deep, Step::DeepFirst, Step::DeepRest]);
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
    draft.byte(b'/');
    let bytes = part.as_bytes();
    // A name has at least one byte.
    if bytes.iter().all(|&byte| byte == b'*') {
        draft.one(Bytes::name());
    }
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\' | 0);
        let plain = rest.iter().position(special).unwrap_or(rest.len());
        if plain > 0 {
            draft.bytes(rest.get(..plain).unwrap_or_default());
            at += plain;
            continue;
        }
        match byte {
            b'*' if bytes.get(at + 1) == Some(&b'*') => {
                return bad(start + at, "** must be a whole component");
            }
            b'*' => draft.tail.push(Step::Star),
            b'?' => draft.one(Bytes::name()),
            b'[' => {
                let (set, end) = class(bytes, at, start)?;
                draft.one(set);
                at = end;
            }
            b'\\' => {
                at += 1;
                match bytes.get(at) {
                    Some(&taken) => draft.byte(taken),
                    None => return bad(start + at - 1, "nothing follows this backslash"),
                }
            }
            _ => return bad(start + at, "no path has a NUL byte"),
        }
        at += 1;
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
    for pattern in patterns {
        pattern
            .literal
            .iter()
            .for_each(|&byte| literal.insert(byte));
        for step in &pattern.tail {
            if let Step::Byte(byte) = step {
                literal.insert(*byte);
            }
        }
        sets.extend(pattern.sets.iter().copied());
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
mod tests;
