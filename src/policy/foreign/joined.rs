//! Entries of one call put together again, where a profile has one for each block of numbers.
//!
//! Tests that must all hold say a range in blocks whose size is a power of two, and all but one number in as many as the number has bits:
//! as conditions of ours that would be more than a filter holds.

use super::{Action, Cond, Host, Op, Rule};
use crate::policy::lang::predicate::{Expr, Test};
use crate::policy::lang::regions::{Region, regions};

/// What the entries of a call come to.
pub(super) struct Joined {
    /// What the call gets where none of the rules holds, if the entries are about all arguments.
    pub(super) base: Option<Action>,
    pub(super) rules: Vec<Rule>,
}

/// Entries of a call that are looked at together, and regions in which they lie.
const MOST: usize = 512;

/// A block of numbers, or bits of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Range(u64, u64),
    Bits(u64, u64),
}

/// One entry: arguments and their parts.
type Parts = Vec<(usize, Part)>;

/// Joins the entries of a call; `None`: they are not of this sort.
pub(super) fn joined(call: &str, rules: &[&Rule], host: &Host<'_>) -> Option<Joined> {
    if rules.len() < 2 || rules.len() > MOST {
        return None;
    }
    let mut exprs = Vec::new();
    let mut all: Vec<(Parts, &Rule)> = Vec::new();
    for rule in rules {
        let [tests] = &rule.when.as_ref()?[..] else {
            return None;
        };
        let (expr, parts) = read(call, tests, host)?;
        exprs.push((expr, rule.action));
        all.push((parts, rule));
    }
    let answer = |region: &Region| {
        let mut action = None;
        for (expr, own) in &exprs {
            if expr.within(region)? {
                // Of two that hold the stricter decides, which is another matter.
                let same = action.is_none_or(|(other, _)| other == *own);
                action = Some((*own, same && action.is_none_or(|(_, alone)| alone)));
            }
        }
        Ok(action)
    };
    let found = regions(&answer, MOST)?;
    if found
        .iter()
        .any(|(_, action)| matches!(action, Some((_, false))))
    {
        return None;
    }
    let count = |action: Action| all.iter().filter(|(_, rule)| rule.action == action).count();
    let exhaustive = found.iter().all(|(_, action)| action.is_some());
    let most = rules
        .iter()
        .map(|rule| rule.action)
        .max_by_key(|action| count(*action));
    let base = most.filter(|_| exhaustive);
    all.retain(|(_, rule)| Some(rule.action) != base);
    while let Some((first, second, parts)) = adjacent(&all) {
        all.remove(second);
        if let Some(one) = all.get_mut(first) {
            one.0 = parts;
        }
    }
    let rules = all.into_iter().map(|(parts, rule)| Rule {
        when: Some(vec![parts.into_iter().map(test).collect()]),
        ..rule.clone()
    });
    Some(Joined {
        base,
        rules: rules.collect(),
    })
}

/// Tests of masked bits, each of another argument and all of them bits that the kernel looks at.
fn read(call: &str, tests: &[Cond], host: &Host<'_>) -> Option<(Expr, Parts)> {
    let mut exprs = Vec::new();
    let mut parts = Vec::new();
    for cond in tests {
        let (_, param) = (host.param)(call, cond.arg).ok()?;
        let all = u64::MAX.checked_shr(64 - param.bits)?;
        let Op::Masked(mask) = cond.op else {
            return None;
        };
        let twice = parts.iter().any(|(arg, _)| *arg == cond.arg);
        if twice || mask == 0 || mask & !all != 0 || cond.value & !mask != 0 {
            return None;
        }
        exprs.push(Expr::Test(Test::Masked {
            arg: param.arg,
            bits: param.bits,
            mask,
            value: cond.value,
        }));
        let rest = all & !mask;
        let part = match rest & rest.wrapping_add(1) {
            0 => Part::Range(cond.value, cond.value | rest),
            _ => Part::Bits(mask, cond.value),
        };
        parts.push((cond.arg, part));
    }
    Some((Expr::And(exprs), parts))
}

/// Two of one action that are one, and what they are.
fn adjacent(all: &[(Parts, &Rule)]) -> Option<(usize, usize, Parts)> {
    for (first, (parts, rule)) in all.iter().enumerate() {
        for (second, (others, other)) in all.iter().enumerate().skip(first + 1) {
            if rule.action == other.action
                && let Some(parts) = together(parts, others)
            {
                return Some((first, second, parts));
            }
        }
    }
    None
}

fn together(one: &Parts, other: &Parts) -> Option<Parts> {
    let mut differ = one.iter().zip(other).filter(|(a, b)| a != b);
    let ((arg, Part::Range(low, high)), (same, Part::Range(least, most))) = differ.next()? else {
        return None;
    };
    let touch = |high: u64, low: u64| high.checked_add(1) == Some(low);
    if one.len() != other.len()
        || differ.next().is_some()
        || arg != same
        || !(touch(*high, *least) || touch(*most, *low))
    {
        return None;
    }
    let joined = Part::Range(*low.min(least), *high.max(most));
    let put = |(at, part): &(usize, Part)| (*at, if at == arg { joined } else { *part });
    Some(one.iter().map(put).collect())
}

fn test((arg, part): (usize, Part)) -> Cond {
    let (op, value) = match part {
        Part::Range(low, high) => (Op::Within(low), high),
        Part::Bits(mask, value) => (Op::Masked(mask), value),
    };
    Cond { arg, op, value }
}
