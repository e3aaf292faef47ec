//! Laws of the decision, over random policies and all short paths.

mod naive;

use super::*;

/// A small generator of numbers (xorshift64*): the laws need many cases, not good ones.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }
}

const PATTERNS: [&str; 20] = [
    "/**", "/a/**", "/a", "/a/*", "/a/b", "/a/b/**", "**/b", "**/b/**", "/*", "/?/b", "/a/**/b",
    "/[ab]/**", "/*/a", "/b/a", "/a/a*", "**/a*", "/b/**", "/a/b/a", "/ab", "/[!a]/*",
];
const NAMES: [&str; 4] = ["", "/a", "/b", "/ab"];

fn effects(dice: &mut Dice) -> Effect {
    match dice.roll(9) {
        7 => Effect::Kill,
        8 => Effect::ASK,
        0 => Effect::Hide,
        1 => Effect::Deny(Errno::EACCES),
        2 => Effect::Deny(Errno::EPERM),
        _ => {
            let least = [Access::LOOK, Access::LOOK.and(Access::LIST)][dice.roll(2)];
            let set = LETTERS.iter().filter(|_| dice.roll(2) == 0);
            Effect::Grant(set.fold(least, |all, (_, one)| all.and(*one)))
        }
    }
}

fn some_rules(dice: &mut Dice) -> Vec<FileRule> {
    let mut rules = Vec::new();
    for pattern in PATTERNS {
        if dice.roll(3) == 0 {
            rules.push(FileRule {
                pattern: Pattern::parse(pattern).unwrap(),
                effect: effects(dice),
                forbid: dice.roll(8) == 0,
                id: RuleId(rules.len() as u32),
            });
        }
    }
    for rule in &mut rules {
        if rule.forbid {
            rule.effect = Effect::Hide;
        }
    }
    rules
}

fn paths() -> Vec<String> {
    let mut all = vec![String::new()];
    for _ in 0..4 {
        all = all
            .iter()
            .flat_map(|p| NAMES.map(|n| format!("{p}{n}")))
            .collect();
    }
    all.sort();
    all.dedup();
    all
}

fn each(mut law: impl FnMut(&mut Dice, &[FileRule], &[String])) {
    let paths = paths();
    for seed in 1..=25u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let rules = some_rules(&mut dice);
        law(&mut dice, &rules, &paths);
    }
}

fn compiled(rules: &[FileRule]) -> Files {
    Files::new(rules.to_vec(), Effect::Hide)
}

#[test]
fn order_never_matters() {
    each(|dice, rules, paths| {
        let mut other = rules.to_vec();
        for at in (1..other.len()).rev() {
            other.swap(at, dice.roll(at + 1));
        }
        let (a, b) = (compiled(rules), compiled(&other));
        for path in paths {
            assert_eq!(
                a.decide(path.as_bytes()),
                b.decide(path.as_bytes()),
                "{path}"
            );
        }
    });
}

/// What the second allows beyond the first, anywhere.
fn wider(first: &[FileRule], second: &[FileRule], paths: &[String]) -> Option<String> {
    let (a, b) = (compiled(first), compiled(second));
    // A deny inside of what is hidden shows that there is something, and no more.
    let at = |f: &Files, p: &str| {
        f.decide(p.as_bytes())
            .effect
            .granted()
            .without(Access::LOOK)
    };
    paths.iter().find(|p| !at(&a, p).has(at(&b, p))).cloned()
}

#[test]
fn adding_a_deny_or_a_forbid_never_allows_more() {
    each(|dice, rules, paths| {
        for forbid in [false, true] {
            let pattern = Pattern::parse(PATTERNS[dice.roll(PATTERNS.len())]).unwrap();
            // A second rule for the same set would be refused when it is read.
            let same =
                |r: &FileRule| r.pattern.is_within(&pattern) && pattern.is_within(&r.pattern);
            if !forbid && rules.iter().any(same) {
                continue;
            }
            let mut more = rules.to_vec();
            more.push(FileRule {
                pattern,
                effect: if forbid {
                    Effect::Hide
                } else {
                    Effect::Deny(Errno::EACCES)
                },
                forbid,
                id: RuleId(99),
            });
            assert_eq!(wider(rules, &more, paths), None, "{:?}", more.last());
        }
    });
}

#[test]
fn what_both_allow_is_commutative_associative_idempotent_and_never_wider() {
    each(|dice, _, _| {
        let (a, b, c) = (effects(dice), effects(dice), effects(dice));
        assert_eq!(a.meet(b), b.meet(a));
        assert_eq!(a.meet(b).meet(c), a.meet(b.meet(c)));
        assert_eq!(a.meet(a), a);
        assert!(a.granted().has(a.meet(b).granted()) && b.granted().has(a.meet(b).granted()));
    });
}

/// The candidates that nothing beats are those that the automaton says have decided, and it agrees with
/// matching each pattern by itself.
#[test]
fn explaining_is_deciding() {
    each(|_, rules, paths| {
        let files = compiled(rules);
        for path in paths {
            let ruling = files.decide(path.as_bytes());
            let candidates = files.candidates(path.as_bytes());
            let mut winners: Vec<u32> = candidates
                .iter()
                .filter(|c| c.beaten_by.is_empty())
                .map(|c| c.rule.id.0)
                .collect();
            winners.sort_unstable();
            assert_eq!(
                winners,
                ruling.because.iter().map(|id| id.0).collect::<Vec<_>>(),
                "{path}"
            );
            let mut matching: Vec<u32> = candidates.iter().map(|c| c.rule.id.0).collect();
            matching.sort_unstable();
            let plain = rules.iter().filter(|r| r.pattern.matches(path.as_bytes()));
            assert_eq!(
                matching,
                plain.map(|r| r.id.0).collect::<Vec<_>>(),
                "{path}"
            );
        }
    });
}

/// The list of all answers has each that some path gets, and differences are found where there are any.
#[test]
fn all_answers_are_found() {
    let mut before: Option<Files> = None;
    each(|_, rules, paths| {
        let files = compiled(rules);
        let answers = files.answers(1 << 16).unwrap();
        for path in paths {
            let ruling = files.decide(path.as_bytes());
            assert!(
                answers.iter().any(|(r, _)| r.because == ruling.because),
                "{path}"
            );
        }
        for (ruling, path) in &answers {
            assert_eq!(ruling.because, files.decide(path).because);
        }
        if let Some(old) = &before {
            let one = |files: &Files, states: &[State]| files.rule_at(&states[0]);
            let found = differences(
                [&[old], &[&files]],
                1 << 16,
                |states| one(old, states),
                |states| one(&files, states),
            );
            let found = found.unwrap();
            for one in &found {
                assert_eq!(old.decide(&one.path).effect, one.before);
                assert_eq!(files.decide(&one.path).effect, one.after);
            }
            let differ =
                |p: &&String| old.decide(p.as_bytes()).effect != files.decide(p.as_bytes()).effect;
            assert_eq!(paths.iter().any(|p| differ(&p)), !found.is_empty());
        }
        before = Some(files);
    });
}

/// What a person expects, path by path.
#[test]
fn the_narrower_rule_wins() {
    let rw = "/w/src/**";
    let rule = |pattern: &str, effect, forbid, id| FileRule {
        pattern: Pattern::parse(pattern).unwrap(),
        effect,
        forbid,
        id: RuleId(id),
    };
    let all = Effect::Grant(Access::ALL);
    let read = Effect::Grant(Access::READ_ONLY);
    let mut rules = vec![
        rule("/usr/**", read, false, 0),
        rule(rw, all, false, 1),
        rule("**/.env", Effect::Hide, false, 2),
        rule("/w/test/.env", read, false, 3),
        rule("/w/**", read, false, 4),
        rule("/w/tests/*.out", Effect::Deny(Errno::EACCES), false, 5),
        rule("/w/tests/**", all, false, 6),
        rule("**/.ssh/**", Effect::Hide, true, 7),
        rule("/w/src/.ssh/known", all, false, 8),
    ];
    let files = compiled(&rules);
    for (path, effect, because) in [
        ("/usr/bin/cc", read, &[0][..]),
        ("/usr", read, &[0]),
        ("/usrx", Effect::Hide, &[]),
        ("/w/src/a.c", all, &[1]),
        ("/w/src", all, &[1]),
        ("/w/src/.env", Effect::Hide, &[1, 2]),
        ("/w/.env", Effect::Hide, &[2, 4]),
        ("/w/test/.env", read, &[3]),
        ("/w/a", read, &[4]),
        ("/w/tests/1.out", Effect::Deny(Errno::EACCES), &[5]),
        ("/w/tests/1.in", all, &[6]),
        ("/w/tests/a/1.out", all, &[6]),
        ("/w/src/.ssh/known", Effect::Hide, &[7]),
        ("/etc/passwd", Effect::Hide, &[]),
    ] {
        let ruling = files.decide(path.as_bytes());
        let ids: Vec<u32> = ruling.because.iter().map(|id| id.0).collect();
        assert_eq!((ruling.effect, &ids[..]), (effect, because), "{path}");
    }
    rules.push(rule("**/.env", Effect::Hide, true, 9));
    let ruling = compiled(&rules).decide(b"/w/test/.env");
    assert_eq!(
        (ruling.effect, &ruling.because[..]),
        (Effect::Hide, &[RuleId(9)][..])
    );
    assert!(files.decide(b"/").leads && files.decide(b"/w/src/.git").leads);
}

/// What a path costs is where it stands, not how many rules there are: ten thousand of a form are one node.
#[test]
fn many_rules_are_few_nodes() {
    let forms: [fn(u32) -> String; 5] = [
        |n| format!("/srv/d{}/f{n}/**", n % 100),
        |n| format!("**/name{n}"),
        |n| format!("/srv/*/name{n}*"),
        |n| format!("/srv/**/name{n}/[ab]?"),
        |n| format!("/srv/[a-y]{n}/x"),
    ];
    for (form, path) in forms.into_iter().zip([
        "/srv/d42/f9942/x/y",
        "/srv/a/b/c/name77",
        "/srv/q/name999",
        "/srv/q/w/name55/ab",
        "/srv/k9999/x",
    ]) {
        let rules = (0..10_000).map(|n| FileRule {
            pattern: Pattern::parse(&form(n)).unwrap(),
            effect: Effect::Grant(Access::READ_ONLY),
            forbid: false,
            id: RuleId(n),
        });
        let files = Files::new(rules.collect(), Effect::Hide);
        let mut state = files.start();
        for &byte in path.as_bytes() {
            state = files.advance(&state, byte);
            let nodes = state.nodes();
            assert!(nodes <= 16, "{path}: {nodes}");
        }
        let matching = files.rules().iter();
        let matching = matching.filter(|rule| rule.pattern.matches(path.as_bytes()));
        let mut matching: Vec<RuleId> = matching.map(|rule| rule.id).collect();
        matching.sort_by_key(|id| id.0);
        assert!(!matching.is_empty(), "{path}");
        let mut found: Vec<RuleId> = files
            .candidates(path.as_bytes())
            .iter()
            .map(|candidate| candidate.rule.id)
            .collect();
        found.sort_by_key(|id| id.0);
        assert_eq!(found, matching, "{path}");
    }
}
