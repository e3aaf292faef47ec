//! The automaton against the definition of the language: each pattern matched by itself, component by component,
//! and the rules that match compared with each other.

use super::{Dice, effects};
use crate::policy::files::{Effect, FileRule, Files};
use crate::policy::glob::Pattern;
use crate::policy::{Access, RuleId};
use crate::sys::Errno;

/// Whether a pattern matches a path, by trying.
fn matches(pattern: &str, path: &[u8]) -> bool {
    let pattern = pattern.strip_prefix('/').unwrap_or(pattern).as_bytes();
    let components = |text: &[u8]| -> Vec<Vec<u8>> {
        if text.is_empty() {
            return Vec::new();
        }
        text.split(|&b| b == b'/').map(<[u8]>::to_vec).collect()
    };
    match path.strip_prefix(b"/") {
        Some(rest) => below(&components(pattern), &components(rest)),
        None => path.is_empty() && below(&components(pattern), &[]),
    }
}

fn below(pattern: &[Vec<u8>], path: &[Vec<u8>]) -> bool {
    match pattern {
        [] => path.is_empty(),
        [deep, rest @ ..] if deep == b"**" => (0..=path.len()).any(|at| below(rest, &path[at..])),
        [first, rest @ ..] => match path {
            [] => false,
            [name, others @ ..] => !name.is_empty() && within(first, name) && below(rest, others),
        },
    }
}

fn within(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], _) => name.is_empty(),
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|at| within(rest, &name[at..])),
        (_, []) => false,
        ([b'?', rest @ ..], [_, others @ ..]) => within(rest, others),
        ([b'\\', taken, rest @ ..], [byte, others @ ..]) => taken == byte && within(rest, others),
        ([b'[', rest @ ..], [byte, others @ ..]) => {
            let (not, rest) = match rest {
                [b'!', rest @ ..] => (true, rest),
                _ => (false, rest),
            };
            let end = rest.iter().skip(1).position(|&b| b == b']').unwrap() + 1;
            let found = match rest[..end] {
                [low, b'-', high] => (low..=high).contains(byte),
                ref some => some.contains(byte),
            };
            found != not && within(&rest[end + 1..], others)
        }
        ([taken, rest @ ..], [byte, others @ ..]) => taken == byte && within(rest, others),
    }
}

/// What the language says of a path.
fn decide(rules: &[FileRule], path: &[u8]) -> (Effect, Vec<u32>) {
    let all: Vec<&FileRule> = rules
        .iter()
        .filter(|rule| matches(rule.pattern.text(), path))
        .collect();
    let forbidden = all.iter().any(|rule| rule.forbid);
    let narrower = |a: &FileRule, b: &FileRule| {
        a.pattern.is_within(&b.pattern) && !b.pattern.is_within(&a.pattern)
    };
    let stays = |rule: &&&FileRule| match forbidden {
        true => rule.forbid,
        false => !all.iter().any(|other| narrower(other, rule)),
    };
    let deciding: Vec<&&FileRule> = all.iter().filter(stays).collect();
    let effect = deciding.iter().map(|rule| rule.effect);
    let mut ids: Vec<u32> = deciding.iter().map(|rule| rule.id.0).collect();
    ids.sort_unstable();
    (effect.reduce(Effect::meet).unwrap_or(Effect::Hide), ids)
}

const PARTS: [&str; 20] = [
    "a", "b", "ab", "aé", "*", "**", "**", "a*", "*b", "*a*b", "?", "?b", "a?", "[ab]", "[!a]b",
    "[a-c]*", "*[!b]", "\\*a", "[b]", "a*b*",
];
const NAMES: [&[u8]; 16] = [
    b"a",
    b"b",
    b"ab",
    b"ba",
    b"c",
    b"*a",
    b"aab",
    b"acb",
    b"abb",
    "a\u{e9}".as_bytes(),
    b"\xff",
    b"a\xff",
    b"\xc3",
    b"\x01b",
    b"bb",
    b"a\nb",
];

fn pattern(dice: &mut Dice) -> String {
    let parts = (0..=dice.roll(4)).map(|_| PARTS[dice.roll(PARTS.len())]);
    let text = parts.collect::<Vec<_>>().join("/");
    match dice.roll(3) {
        0 => format!("**/{text}"),
        _ => format!("/{text}"),
    }
}

fn path(dice: &mut Dice) -> Vec<u8> {
    let names = (0..dice.roll(6)).map(|_| NAMES[dice.roll(NAMES.len())]);
    names.flat_map(|name| [b"/", name].concat()).collect()
}

fn rules(dice: &mut Dice, number: usize) -> Vec<FileRule> {
    (0..number as u32)
        .map(|id| {
            let pattern = Pattern::parse(&pattern(dice)).unwrap();
            let forbid = dice.roll(40) == 0;
            let effect = effects(dice);
            FileRule {
                pattern,
                effect: if forbid { Effect::Hide } else { effect },
                forbid,
                id: RuleId(id),
            }
        })
        .collect()
}

#[test]
fn the_automaton_is_what_the_language_says() {
    for seed in 1..=20u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let number = 1 + dice.roll(20);
        let rules = rules(&mut dice, number);
        let files = Files::new(rules.clone(), Effect::Hide);
        let paths: Vec<Vec<u8>> = (0..60).map(|_| path(&mut dice)).collect();
        for path in &paths {
            let shown = path.escape_ascii();
            let ruling = files.decide(path);
            let ids: Vec<u32> = ruling.because.iter().map(|id| id.0).collect();
            assert_eq!((ruling.effect, ids), decide(&rules, path), "{shown}");
            // What lies below is announced above.
            let mut state = files.start();
            for (at, &byte) in path.iter().enumerate() {
                if byte == b'/' {
                    let above = files.rule_at(&state);
                    let forbidden = |id: &RuleId| rules[id.0 as usize].forbid;
                    let is_shown = |rule: &&FileRule| {
                        !rule.forbid && !rule.effect.hides() && matches(rule.pattern.text(), path)
                    };
                    if rules.iter().any(|rule| is_shown(&rule))
                        && !above.because.iter().any(forbidden)
                    {
                        assert!(above.leads, "{shown} at {at}");
                    }
                    let hides =
                        |rule: &FileRule| rule.effect.hides() && matches(rule.pattern.text(), path);
                    if rules.iter().any(hides) {
                        assert!(files.hides_below(&state), "{shown} at {at}");
                    }
                }
                state = files.advance(&state, byte);
            }
        }
    }
}

/// What nobody can match is not announced: where no rule goes on, nothing is below.
#[test]
fn what_no_rule_reaches_leads_nowhere() {
    let rule = |text: &str, effect| FileRule {
        pattern: Pattern::parse(text).unwrap(),
        effect,
        forbid: false,
        id: RuleId(0),
    };
    let read = Effect::Grant(Access::READ_ONLY);
    for (text, path, leads) in [
        ("/a/b", "/a", true),
        ("/a/b", "/a/b", false),
        ("/a/b", "/b", false),
        ("/a/**", "/a/b/c", true),
        ("/a/*", "/a", true),
        ("/a/*/c", "/a/b", true),
        ("/a/*/c", "/a/b/d", false),
        ("**/x/y", "/q", true),
        ("/a/[!b]", "/a/b", false),
    ] {
        let files = Files::new(vec![rule(text, read)], Effect::Hide);
        let at = files.decide(path.as_bytes());
        assert_eq!(at.leads, leads, "{text} {path}");
        let hiding = Files::new(vec![rule(text, Effect::Hide)], Effect::Deny(Errno::EACCES));
        let state = path
            .bytes()
            .fold(hiding.start(), |s, b| hiding.advance(&s, b));
        assert_eq!(hiding.hides_below(&state), leads, "{text} {path}");
        assert!(!hiding.decide(path.as_bytes()).leads);
    }
}

#[test]
fn two_rules_for_one_set_are_found_however_they_are_written() {
    let mut dice = Dice(0x5eed);
    for _ in 0..12 {
        let rules = rules(&mut dice, 14);
        let files = Files::new(rules.clone(), Effect::Hide);
        let mut found: Vec<[u32; 2]> = files
            .equals()
            .iter()
            .map(|(a, b)| [a.id.0.min(b.id.0), a.id.0.max(b.id.0)])
            .collect();
        found.sort_unstable();
        let mut tried = Vec::new();
        for (at, a) in rules.iter().enumerate() {
            for b in &rules[at + 1..] {
                let same = a.pattern.is_within(&b.pattern) && b.pattern.is_within(&a.pattern);
                if same && a.forbid == b.forbid {
                    tried.push([a.id.0, b.id.0]);
                }
            }
        }
        assert_eq!(found, tried);
    }
}
