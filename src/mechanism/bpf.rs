//! Compiles decisions about call numbers and arguments to a seccomp filter (classic BPF, seccomp(2)).
//!
//! # What comes out
//!
//! ```text
//! arch is x86-64? ── no ──▶ default            (int 0x80 brings i386 numbers)
//!   │
//! search tree over the number ──▶ action       (neighbours with equal action are one range)
//!   │
//!   └─▶ switch: load an argument's low word, search tree over its values ──▶ action or further checks
//!   └─▶ chain:  conditions, compiled by seccompiler, in order ──▶ action
//! ```
//! Length matters: at install time the kernel emulates the filter once for every number, to learn which are
//! always allowed (those skip the filter from then on, Linux 5.11). Trees keep both that and each run short,
//! and a decision that several calls share (`pid == 0`) is emitted once.
//!
//! # How
//!
//! BPF jumps only forwards, so the program is built *backwards*: what is emitted later stands earlier, and
//! whatever we jump to has a known place. Conditional jumps reach 255 instructions; a farther target is
//! reached over a `ja` placed next to the jump. Lengths are never guessed (that overflowing silently has
//! broken real filters).
//!
//! seccompiler knows one action per filter and no user notification. We use it one level down: each of its
//! *rules* is compiled alone (conditions that fall through if all hold and else jump over one instruction), and we
//! put our own return into that place.

use std::collections::HashMap;

use libc::sock_filter;
use seccompiler::{BpfProgram, SeccompRule};

/// What the filter returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The kernel serves the call.
    Allow,
    /// The listener is asked.
    Notify,
    /// The tracer is asked, and gets this word.
    Trace(u16),
    /// The call returns this errno; 0 is success without doing it.
    Errno(u16),
    /// The process dies.
    KillProcess,
}

impl Action {
    /// The filter's return value.
    pub fn value(self) -> u32 {
        match self {
            Action::Allow => libc::SECCOMP_RET_ALLOW,
            Action::Notify => libc::SECCOMP_RET_USER_NOTIF,
            Action::Trace(data) => libc::SECCOMP_RET_TRACE | u32::from(data),
            Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
            Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The same for all arguments.
    Always(Action),
    /// By the value of an argument's low word.
    Switch {
        /// Which argument, from 0.
        arg: u8,
        /// Value and what then; each value once.
        arms: Vec<(u32, Decision)>,
        /// For all other values.
        otherwise: Box<Decision>,
    },
    /// The first rule that holds decides.
    Chain {
        /// Rules and what then.
        cases: Vec<(SeccompRule, Action)>,
        /// If none holds.
        otherwise: Action,
    },
}

/// Why no filter could be made. All are mistakes in sbox, none is the user's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A number or value has two decisions.
    #[error("{0:#x} is decided twice")]
    Twice(u32),
    /// The kernel takes no longer ones.
    #[error("{0} instructions are more than the kernel's limit of 4096")]
    TooLong(usize),
    /// A jump does not reach its target.
    #[error("a jump over {0} instructions does not fit its field")]
    TooFar(usize),
    /// An argument that does not exist.
    #[error("system calls have no argument {0}")]
    Argument(u8),
    /// seccompiler refused a condition.
    #[error("condition: {0}")]
    Condition(#[from] seccompiler::BackendError),
}

pub use crate::sys::process::ARCH_X86_64;

/// The kernel's limit, `BPF_MAXINSNS`.
const MAX_LEN: usize = 4096;

// struct seccomp_data { int nr; u32 arch; u64 instruction_pointer; u64 args[6]; }
const NR: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const IF_EQ: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const IF_GE: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Makes the filter. Numbers that are not listed, other architectures and x32 numbers (bit 30) get `default`.
pub fn compile(calls: &[(u32, Decision)], default: Action) -> Result<Vec<sock_filter>, Error> {
    let mut program = Backwards::default();
    let mut arms = Vec::with_capacity(calls.len());
    for (number, decision) in calls {
        arms.push((*number, program.place(decision)?));
    }
    let default = Target::Return(default.value());
    let numbers = program.tree(&ranges(arms, default)?)?;
    let load_number = program.load(NR, numbers)?;
    let check_arch = program.branch(IF_EQ, ARCH_X86_64, load_number, default)?;
    program.load(ARCH, check_arch)?;
    program.finish()
}

/// Where a branch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// To a return of this value, wherever one is.
    Return(u32),
    /// To the instruction at this place, counted from the program's end.
    At(usize),
}

/// Where a range of numbers begins, and its target; it ends where the next begins.
type Range = (u32, Target);

/// A program under construction, last instruction first.
#[derive(Default)]
struct Backwards {
    code: Vec<sock_filter>,
    /// The nearest return of each value.
    returns: HashMap<u32, usize>,
    /// The nearest `ja` to each place that was once too far.
    relays: HashMap<usize, usize>,
    /// What has been emitted, to be shared.
    placed: Vec<(Decision, Target)>,
}

/// How far back a target may be for a branch to reach it, also after one more instruction slips between.
const REACH: usize = 254;

impl Backwards {
    /// Emits a decision, or finds it emitted.
    fn place(&mut self, decision: &Decision) -> Result<Target, Error> {
        // Most are of this kind, and need no place.
        if let Decision::Always(action) = decision {
            return Ok(Target::Return(action.value()));
        }
        if let Some((_, target)) = self.placed.iter().find(|(known, _)| known == decision) {
            return Ok(*target);
        }
        let target = match decision {
            Decision::Always(action) => Target::Return(action.value()),
            Decision::Switch {
                arg,
                arms,
                otherwise,
            } => {
                let otherwise = self.place(otherwise)?;
                let mut targets = Vec::with_capacity(arms.len());
                for (value, decision) in arms {
                    targets.push((*value, self.place(decision)?));
                }
                let values = self.tree(&ranges(targets, otherwise)?)?;
                if *arg > 5 {
                    return Err(Error::Argument(*arg));
                }
                self.load(ARGS + 8 * u32::from(*arg), values)?
            }
            Decision::Chain { cases, otherwise } => {
                self.give(otherwise.value());
                for (rule, action) in cases.iter().rev() {
                    self.give(action.value());
                    for i in conditions(rule).into_iter().rev() {
                        self.push(i);
                    }
                }
                self.last()
            }
        };
        self.placed.push((decision.clone(), target));
        Ok(target)
    }

    /// A search tree over ranges, each of which begins at its number and ends where the next begins.
    fn tree(&mut self, ranges: &[Range]) -> Result<Target, Error> {
        match ranges {
            [] => Ok(Target::Return(Action::KillProcess.value())), // not reached: ranges() gives at least one
            [(_, target)] => Ok(*target),
            _ => {
                if ranges.len() <= PEEL
                    && let Some((value, target, rest)) = peel(ranges)
                {
                    let rest = self.tree(&rest)?;
                    return self.branch(IF_EQ, value, target, rest);
                }
                let (low, high) = ranges.split_at(middle(ranges));
                let Some(&(start, _)) = high.first() else {
                    return self.tree(low);
                };
                let high = self.tree(high)?;
                let low = self.tree(low)?;
                self.branch(IF_GE, start, high, low)
            }
        }
    }

    /// `if A <test> value goto yes else goto no`.
    fn branch(&mut self, test: u16, value: u32, yes: Target, no: Target) -> Result<Target, Error> {
        if yes == no {
            return Ok(yes);
        }
        let no = self.near(no)?;
        let yes = self.near(yes)?;
        let (jt, jf) = (self.byte(yes)?, self.byte(no)?);
        self.push(sock_filter {
            code: test,
            jt,
            jf,
            k: value,
        });
        Ok(self.last())
    }

    /// Loads a word of `seccomp_data` and goes to `next`.
    fn load(&mut self, offset: u32, next: Target) -> Result<Target, Error> {
        match next {
            Target::Return(value) => self.give(value),
            next if next == self.last() => {}
            Target::At(place) => {
                let k = self.word(place)?;
                self.push(statement(JUMP, k));
            }
        }
        self.push(statement(LOAD, offset));
        Ok(self.last())
    }

    /// A place within reach that does what `target` does.
    fn near(&mut self, target: Target) -> Result<usize, Error> {
        let known = match target {
            Target::Return(value) => self.returns.get(&value).copied(),
            Target::At(place) => Some(self.relays.get(&place).copied().unwrap_or(place)),
        };
        if let Some(place) = known
            && self.code.len().saturating_sub(place) < REACH
        {
            return Ok(place);
        }
        match target {
            Target::Return(value) => self.give(value),
            Target::At(place) => {
                let k = self.word(place)?;
                self.relays.insert(place, self.code.len());
                self.push(statement(JUMP, k));
            }
        }
        Ok(self.code.len().saturating_sub(1))
    }

    /// Returns `value`.
    fn give(&mut self, value: u32) {
        self.returns.insert(value, self.code.len());
        self.push(statement(RETURN, value));
    }

    /// How many instructions lie between the next one and `place`.
    fn distance(&self, place: usize) -> usize {
        self.code.len().saturating_sub(place).saturating_sub(1)
    }

    /// The distance, for a conditional jump.
    fn byte(&self, place: usize) -> Result<u8, Error> {
        u8::try_from(self.distance(place)).map_err(|_| Error::TooFar(self.distance(place)))
    }

    /// The distance, for an unconditional jump.
    fn word(&self, place: usize) -> Result<u32, Error> {
        u32::try_from(self.distance(place)).map_err(|_| Error::TooFar(self.distance(place)))
    }

    fn push(&mut self, instruction: sock_filter) {
        self.code.push(instruction);
    }

    /// The place of what was emitted last, which is what stands first.
    fn last(&self) -> Target {
        Target::At(self.code.len().saturating_sub(1))
    }

    /// The program, in the right order.
    fn finish(mut self) -> Result<Vec<sock_filter>, Error> {
        if self.code.len() > MAX_LEN {
            return Err(Error::TooLong(self.code.len()));
        }
        self.code.reverse();
        Ok(self.code)
    }
}

/// Cuts all 32-bit numbers into ranges with one target each: (where it begins, target), ascending.
fn ranges(mut arms: Vec<(u32, Target)>, otherwise: Target) -> Result<Vec<Range>, Error> {
    arms.sort_by_key(|(value, _)| *value);
    let mut ranges: Vec<Range> = vec![(0, otherwise)];
    let mut previous = None;
    for (value, target) in arms {
        if previous.replace(value) == Some(value) {
            return Err(Error::Twice(value));
        }
        // The range of `otherwise` that the last value opened begins at this very value, if they are neighbours.
        if ranges.last().is_some_and(|(start, _)| *start == value) {
            ranges.pop();
        }
        ranges.push((value, target));
        if let Some(next) = value.checked_add(1) {
            ranges.push((next, otherwise));
        }
    }
    ranges.dedup_by_key(|(_, target)| *target);
    Ok(ranges)
}

/// Below this many ranges, single values are tested for equality one after another.
const PEEL: usize = 7;

/// Where to split: as near to the middle as can be without parting a range that [`peel`] would find from its neighbours.
fn middle(ranges: &[Range]) -> usize {
    let half = ranges.len() / 2;
    // The split before the range at a place parts the three around it, and the three around the one before.
    let parts = |at: usize| {
        let peels = |middle: usize| {
            let three = middle
                .checked_sub(1)
                .and_then(|from| ranges.get(from..from + 3));
            three.is_some_and(can_be_peeled)
        };
        peels(at) || at.checked_sub(1).is_some_and(peels)
    };
    let mut near = (0..=half / 4).flat_map(|off| [half + off, half - off]);
    near.find(|at| !parts(*at)).unwrap_or(half)
}

/// A range of one value between two ranges of equal target.
fn can_be_peeled(three: &[Range]) -> bool {
    match three {
        [(_, before), (value, _), (next, after)] => {
            before == after && value.checked_add(1) == Some(*next)
        }
        _ => false,
    }
}

/// Finds a range of one value between two ranges of equal target: one test for equality takes it out, where
/// the tree would need two comparisons. Returns the value, its target, and the ranges without it.
fn peel(ranges: &[Range]) -> Option<(u32, Target, Vec<Range>)> {
    let at = ranges.windows(3).position(can_be_peeled)? + 1;
    let (value, target) = *ranges.get(at)?;
    let mut rest = ranges.to_vec();
    rest.drain(at..=at + 1);
    Some((value, target, rest))
}

/// An instruction that doesn't branch.
fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// A rule as seccompiler compiles it: falls through if all conditions hold, else jumps over one instruction.
/// It begins with `ja 1` over another `ja` to which nothing jumps; we leave out both.
fn conditions(rule: &SeccompRule) -> Vec<sock_filter> {
    let program: BpfProgram = rule.clone().into();
    let prelude =
        matches!(program.as_slice(), [a, b, ..] if (a.code, a.k, b.code) == (JUMP, 1, JUMP));
    let skip = if prelude { 2 } else { 0 };
    program
        .into_iter()
        .skip(skip)
        .map(|i| sock_filter {
            code: i.code,
            jt: i.jt,
            jf: i.jf,
            k: i.k,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition};

    /// What the program returns for a number and a first argument: a second, shorter interpreter, so that a
    /// mistake in the one of `tests/filter.rs` would show.
    fn eval(program: &[sock_filter], nr: u32, arg: u32) -> u32 {
        let (mut a, mut at) = (0, 0);
        loop {
            let i = program[at];
            let yes = match i.code {
                LOAD => {
                    a = match i.k {
                        NR => nr,
                        ARCH => ARCH_X86_64,
                        ARGS => arg,
                        _ => 0,
                    };
                    None
                }
                IF_EQ => Some(a == i.k),
                IF_GE => Some(a >= i.k),
                JUMP => {
                    at += i.k as usize;
                    None
                }
                RETURN => return i.k,
                code => panic!("{code:#x}"),
            };
            at += 1 + yes.map_or(0, |yes| usize::from(if yes { i.jt } else { i.jf }));
        }
    }

    fn chain(value: u64) -> Decision {
        let cond =
            SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value).unwrap();
        Decision::Chain {
            cases: vec![(SeccompRule::new(vec![cond]).unwrap(), Action::Notify)],
            otherwise: Action::Errno(1),
        }
    }

    /// More code than a conditional jump can cross, in tree and chains: every number must still arrive.
    #[test]
    fn targets_beyond_the_reach_of_a_jump_are_reached() {
        let calls: Vec<(u32, Decision)> =
            (0..600).map(|nr| (2 * nr, chain(u64::from(nr)))).collect();
        let program = compile(&calls, Action::KillProcess).unwrap();
        assert!(program.len() > 2000);
        for nr in 0..600 {
            assert_eq!(eval(&program, 2 * nr, nr), Action::Notify.value(), "{nr}");
            assert_eq!(
                eval(&program, 2 * nr, nr + 1),
                Action::Errno(1).value(),
                "{nr}"
            );
            assert_eq!(
                eval(&program, 2 * nr + 1, nr),
                Action::KillProcess.value(),
                "{nr}"
            );
        }
    }

    #[test]
    fn equal_decisions_are_emitted_once() {
        let one = compile(&[(7, chain(0))], Action::Allow).unwrap().len();
        let many: Vec<(u32, Decision)> = (0..20).map(|nr| (5 * nr, chain(0))).collect();
        let many = compile(&many, Action::Allow).unwrap().len();
        // A test for each number and few splits between them, not twenty chains.
        assert!(many < one + 30, "{one} {many}");
    }

    #[test]
    fn neighbours_with_one_action_are_one_range() {
        let calls: Vec<(u32, Decision)> = (10..400)
            .map(|nr| (nr, Decision::Always(Action::Allow)))
            .collect();
        let program = compile(&calls, Action::Errno(38)).unwrap();
        assert!(program.len() <= 8, "{}", program.len());
        for (nr, want) in [
            (9, Action::Errno(38)),
            (10, Action::Allow),
            (399, Action::Allow),
            (400, Action::Errno(38)),
        ] {
            assert_eq!(eval(&program, nr, 0), want.value(), "{nr}");
        }
    }

    #[test]
    fn the_ends_of_the_number_line_are_numbers_too() {
        let calls = [0, u32::MAX].map(|nr| (nr, Decision::Always(Action::Notify)));
        let program = compile(&calls, Action::Allow).unwrap();
        for (nr, want) in [
            (0, Action::Notify),
            (1, Action::Allow),
            (u32::MAX - 1, Action::Allow),
            (u32::MAX, Action::Notify),
        ] {
            assert_eq!(eval(&program, nr, 0), want.value(), "{nr}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let allow = || Decision::Always(Action::Allow);
        assert!(matches!(
            compile(&[(1, allow()), (1, allow())], Action::Allow),
            Err(Error::Twice(1))
        ));
        let switch = Decision::Switch {
            arg: 6,
            arms: vec![(1, allow())],
            otherwise: Box::new(Decision::Always(Action::Notify)),
        };
        assert!(matches!(
            compile(&[(1, switch)], Action::Allow),
            Err(Error::Argument(6))
        ));
        let many: Vec<(u32, Decision)> =
            (0..1500).map(|nr| (2 * nr, chain(u64::from(nr)))).collect();
        assert!(matches!(
            compile(&many, Action::Allow),
            Err(Error::TooLong(_))
        ));
    }
}
