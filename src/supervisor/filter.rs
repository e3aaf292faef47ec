//! The seccomp filter of a sandbox: table × rules × profile.
//!
//! Everything the filter does follows from [`TABLE`] and [`rules`]; here these are only put
//! into the form that `mechanism::bpf` compiles. Numbers without a row get ENOSYS, as do i386 and x32 numbers.

/// Written by the test that holds it equal to what is compiled: `BLESS=1 cargo test --test filter`.
#[rustfmt::skip]
mod ready;

use libc::sock_filter;
use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use crate::mechanism::bpf::{self, Action, Decision, Error};
use crate::policy::Signals;
use crate::policy::lang::predicate::Test;
pub use crate::syscall::rules::Net;
use crate::syscall::rules::{self, ArgRule, Case, Cond, Op, Outcome, Width};
use crate::syscall::table::{Mechanism, Row, TABLE};

/// A number that no kernel has. At the exec stop the tracer turns execve(2) into it, so that the call reaches
/// the listener, which can put the program's descriptor into the process. A guest that calls it itself asks
/// for an exec that the tracer did not announce, and is refused by the supervisor.
pub const EXEC_PRIVATE: u32 = 0x0fff_5b0c;

/// What the tracer finds in the event message of our own exec stops. The guest's own filters may return
/// `SECCOMP_RET_TRACE` too, with data of theirs.
pub const EXEC_TRACE_DATA: u16 = 0x5b0c;

/// What the tracer finds in the event message where the guard has stopped a call.
pub const GUARD_TRACE_DATA: u16 = 0x5b0d;

/// What the tracer finds in the event message of a call in which numbers of processes are to be translated.
pub const NUMBERS_TRACE_DATA: u16 = 0x5b0e;

/// The numbers from here on mean the calls of [`SENDS`], in their order: at the guard's stop the tracer turns the one
/// into the other, so that the call reaches the listener. A guest that makes it by its own hand has its message sent
/// by the supervisor.
pub const SEND_PRIVATE: u32 = 0x0fff_6000;

/// The calls that send with an address.
pub const SENDS: [u32; 3] = [
    libc::SYS_sendto as u32,
    libc::SYS_sendmsg as u32,
    libc::SYS_sendmmsg as u32,
];

/// The calls that stop for the tracer with [`GUARD_TRACE_DATA`]: by the guard, accept(2) and recvfrom(2) also without it.
pub const GUARDED: [u32; 8] = [
    libc::SYS_sendto as u32,
    libc::SYS_recvfrom as u32,
    libc::SYS_sendmsg as u32,
    libc::SYS_recvmsg as u32,
    libc::SYS_sendmmsg as u32,
    libc::SYS_recvmmsg as u32,
    libc::SYS_accept as u32,
    libc::SYS_accept4 as u32,
];

/// The number that a call had before the guard's stop.
pub fn guarded_number(nr: u32) -> Option<u32> {
    let which = nr.checked_sub(SEND_PRIVATE)?;
    SENDS.get(usize::try_from(which).ok()?).copied()
}

/// The number that a call gets at the guard's stop, if it sends.
pub fn private_number(nr: u32) -> Option<u32> {
    (SEND_PRIVATE..)
        .zip(SENDS)
        .find_map(|(private, own)| (own == nr).then_some(private))
}

/// What the filter depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Which network the sandbox has.
    pub net: Net,
    /// Whether files may have another identity for guests than on the host, so that fstat(2) must be told.
    pub copies: bool,
    /// Some directory of the view has a limited size.
    pub metered: bool,
    /// The view has process numbers of its own.
    pub renumbers: bool,
    /// Whom guests may signal.
    pub signals: Signals,
}

/// The filter.
pub fn program(profile: &Profile) -> Result<Vec<sock_filter>, Error> {
    program_with(profile, &[], &[])
}

/// A call that a policy refuses, by its number, and with which arguments; `None`: with any.
pub type RefusedCall<'c> = (u32, Option<&'c [Vec<Test>]>);

/// The filter, with calls that come to the supervisor since a policy refuses them, and
/// others that come to it where the kernel alone would serve them, since somebody wants to hear of them.
pub fn program_with(
    profile: &Profile,
    refused: &[RefusedCall<'_>],
    heard: &[u32],
) -> Result<Vec<sock_filter>, Error> {
    let at = READY.iter().position(|ready| ready == profile);
    match at.and_then(|at| ready::PROGRAMS.get(at)) {
        Some(ready) if refused.is_empty() && heard.is_empty() => Ok(ready.to_vec()),
        _ => compiled(profile, refused, heard),
    }
}

/// The profiles of most runs. Compiling a filter takes a tenth of what it takes to start a program, so theirs come with sbox.
pub const READY: [Profile; 4] = {
    const fn profile(net: Net, copies: bool) -> Profile {
        Profile {
            net,
            copies,
            metered: false,
            renumbers: true,
            signals: Signals::Own,
        }
    }
    [
        profile(Net::None, true),
        profile(Net::None, false),
        profile(Net::Host, true),
        profile(Net::Host, false),
    ]
};

/// The same, compiled now.
pub fn compiled(
    profile: &Profile,
    refused: &[RefusedCall<'_>],
    heard: &[u32],
) -> Result<Vec<sock_filter>, Error> {
    let mut calls = Vec::with_capacity(TABLE.len() + 1);
    for row in TABLE {
        let own = decision(row, profile)?;
        let by_policy = refused.iter().find(|(nr, _)| *nr == row.x86);
        let decision = if let Some((_, cases)) = by_policy {
            match cases {
                None => Decision::Always(Action::Notify),
                Some(cases) => lower(with_cases(row, profile, cases), profile)?,
            }
        } else if heard.contains(&row.x86) && super::calls::can_be_heard(&row.x86) {
            hearing(own)
        } else {
            own
        };
        calls.push((row.x86, decision));
    }
    calls.push((EXEC_PRIVATE, Decision::Always(Action::Notify)));
    calls.extend(
        (SEND_PRIVATE..)
            .zip(SENDS)
            .map(|(private, _)| (private, Decision::Always(Action::Notify))),
    );
    bpf::compile(&calls, refuse(libc::ENOSYS))
}

/// The guard: a second filter, put on a process before it gets a unix datagram socket. What sends or receives with an
/// address behind a pointer stops for the tracer; a filter without a listener can't ask the supervisor itself.
pub fn guard() -> Result<Vec<sock_filter>, Error> {
    let stop = Action::Trace(GUARD_TRACE_DATA);
    // Without an address there is nothing to look at: send(2), recv(2).
    let no_address = SeccompRule::new(vec![SeccompCondition::new(
        4,
        SeccompCmpArgLen::Qword,
        SeccompCmpOp::Eq,
        0,
    )?])?;
    let addressed = Decision::Chain {
        cases: vec![(no_address, Action::Allow)],
        otherwise: stop,
    };
    let calls = [
        (libc::SYS_sendto as u32, addressed.clone()),
        (libc::SYS_recvfrom as u32, addressed),
        (libc::SYS_sendmsg as u32, Decision::Always(stop)),
        (libc::SYS_recvmsg as u32, Decision::Always(stop)),
        (libc::SYS_sendmmsg as u32, Decision::Always(stop)),
        (libc::SYS_recvmmsg as u32, Decision::Always(stop)),
    ];
    // Other numbers and other tables of numbers are the first filter's affair, which outranks this one where it refuses.
    bpf::compile(&calls, Action::Allow)
}

/// What stops reads of a descriptor, or of all, for the tracer: signals that are read tell numbers (`supervisor::ears`).
pub fn ears(fd: Option<i32>) -> Result<Vec<sock_filter>, Error> {
    let stop = Decision::Always(Action::Trace(NUMBERS_TRACE_DATA));
    let hears = match fd {
        None => stop,
        Some(fd) => Decision::Switch {
            arg: 0,
            arms: vec![(fd.cast_unsigned(), stop)],
            otherwise: Box::new(Decision::Always(Action::Allow)),
        },
    };
    let calls = super::ears::READS.map(|nr| (nr as u32, hears.clone()));
    bpf::compile(&calls, Action::Allow)
}

/// The row's rule, behind the arguments with which a policy refuses it. Of an exec there is none: see
/// [`Refused::of`](super::calls::Refused::of).
fn with_cases(row: &Row, profile: &Profile, cases: &[Vec<Test>]) -> ArgRule {
    let mut rule = match answer(row, profile) {
        Answer::ByArguments(rule) => rule,
        Answer::Always(otherwise) => ArgRule {
            why: "",
            cases: Vec::new(),
            otherwise,
        },
        Answer::Exec => ArgRule {
            why: "",
            cases: Vec::new(),
            otherwise: Outcome::Refuse(libc::EPERM),
        },
    };
    let refused = cases.iter().map(|tests| Case {
        when: tests.iter().copied().map(tested).collect(),
        then: Outcome::Notify,
    });
    rule.cases = refused.chain(rule.cases).collect();
    rule
}

/// A test of a policy, in the words of rules.
fn tested(test: Test) -> Cond {
    let (arg, bits, op, value) = match test {
        Test::Ge { arg, bits, value } => (arg, bits, Op::Ge, value),
        Test::Le { arg, bits, value } => (arg, bits, Op::Le, value),
        Test::Masked {
            arg,
            bits,
            mask,
            value,
        } => match mask {
            0xffff_ffff if bits == 32 => (arg, bits, Op::Eq, value),
            u64::MAX => (arg, bits, Op::Eq, value),
            mask => (arg, bits, Op::Masked(mask), value),
        },
    };
    let width = if bits == 32 { Width::Int } else { Width::Long };
    Cond {
        arg,
        width,
        op,
        value,
    }
}

/// The same, but the supervisor hears of what the kernel would serve.
fn hearing(decision: Decision) -> Decision {
    let told = |action| match action {
        Action::Allow => Action::Notify,
        other => other,
    };
    match decision {
        Decision::Always(action) => Decision::Always(told(action)),
        Decision::Switch {
            arg,
            arms,
            otherwise,
        } => Decision::Switch {
            arg,
            arms: arms
                .into_iter()
                .map(|(value, decision)| (value, hearing(decision)))
                .collect(),
            otherwise: Box::new(hearing(*otherwise)),
        },
        Decision::Chain { cases, otherwise } => Decision::Chain {
            cases: cases
                .into_iter()
                .map(|(rule, action)| (rule, told(action)))
                .collect(),
            otherwise: told(otherwise),
        },
    }
}

/// What the filter of a run without a policy answers to a call.
enum Answer {
    /// Whatever its arguments.
    Always(Outcome),
    /// By its arguments.
    ByArguments(ArgRule),
    /// A stop of the tracer's that is for exec alone.
    Exec,
}

fn answer(row: &Row, profile: &Profile) -> Answer {
    Answer::Always(match row.mechanism {
        Mechanism::Native | Mechanism::Guarded => Outcome::Native,
        Mechanism::Identify if profile.copies => Outcome::Notify,
        Mechanism::Meter if profile.metered => Outcome::Notify,
        Mechanism::Identify | Mechanism::Meter => Outcome::Native,
        Mechanism::Notify => Outcome::Notify,
        Mechanism::Trace => return Answer::Exec,
        Mechanism::Number => Outcome::Number,
        Mechanism::Retell => Outcome::Retell,
        Mechanism::Renumber => Outcome::Renumber,
        Mechanism::Refuse(errno) => Outcome::Refuse(errno as i32),
        Mechanism::Fake => Outcome::Fake,
        Mechanism::Check(name, rule) => {
            let mut rule = rule(profile.net);
            if name == "ioctl" && profile.metered {
                rule = rules::no_clones(rule);
            }
            if profile.signals != Signals::Own {
                rule = match name {
                    "fcntl" => rules::no_async_fcntl(rule),
                    "ioctl" => rules::no_async_ioctl(rule),
                    _ => rule,
                };
            }
            return Answer::ByArguments(rule);
        }
    })
}

/// What it answers to these arguments, in the words of the table.
pub fn outcome(row: &Row, profile: &Profile, args: &[u64; 6]) -> Outcome {
    let outcome = match answer(row, profile) {
        Answer::Always(outcome) => outcome,
        Answer::ByArguments(rule) => rule.decide(args),
        Answer::Exec => Outcome::Trace,
    };
    outcome.for_numbers(profile.renumbers)
}

/// What happens to one call.
fn decision(row: &Row, profile: &Profile) -> Result<Decision, Error> {
    Ok(Decision::Always(match answer(row, profile) {
        Answer::Always(outcome) => action(outcome, profile),
        Answer::ByArguments(rule) => return lower(rule, profile),
        Answer::Exec => Action::Trace(EXEC_TRACE_DATA),
    }))
}

/// The action of an outcome.
fn action(outcome: Outcome, profile: &Profile) -> Action {
    match outcome.for_numbers(profile.renumbers) {
        Outcome::Native => Action::Allow,
        Outcome::Notify | Outcome::Number => Action::Notify,
        Outcome::Retell | Outcome::Renumber => Action::Trace(NUMBERS_TRACE_DATA),
        Outcome::Trace => Action::Trace(GUARD_TRACE_DATA),
        Outcome::Refuse(errno) => refuse(errno),
        Outcome::Fake => Action::Errno(0),
    }
}

/// Refuses. An errno that doesn't fit (there is none) refuses too: fail closed.
fn refuse(errno: libc::c_int) -> Action {
    Action::Errno(u16::try_from(errno).unwrap_or(1))
}

/// Turns a rule into switches as long as some case asks whether an `int` equals a value, and what is left into
/// a chain of conditions.
///
/// A switch over an argument gives each value that any case compares it with an arm, in which
/// those comparisons are known: cases that ask for another value are gone, and the question is struck from the rest.
/// So ioctl's hundred commands become one search tree, and socket(2) a switch over families with a
/// small rule in each, equal for `AF_INET` and `AF_INET6` and therefore emitted once.
fn lower(mut rule: ArgRule, profile: &Profile) -> Result<Decision, Error> {
    // A case without conditions always holds: nothing after it counts.
    if let Some(always) = rule.cases.iter().position(|case| case.when.is_empty()) {
        rule.otherwise = rule
            .cases
            .get(always)
            .map_or(rule.otherwise, |case| case.then);
        rule.cases.truncate(always);
    }
    if rule.cases.is_empty() {
        return Ok(Decision::Always(action(rule.otherwise, profile)));
    }
    let Some(arg) = rule
        .cases
        .iter()
        .flat_map(|case| &case.when)
        .find_map(equals)
        .map(|(arg, _)| arg)
    else {
        return chain(&rule, profile);
    };
    let cases = by_value(rule.cases, arg);
    let mut values: Vec<u32> = cases.iter().filter_map(|(wanted, _)| *wanted).collect();
    values.sort_unstable();
    values.dedup();
    let given = |known: Option<u32>| ArgRule {
        why: rule.why,
        cases: cases
            .iter()
            .filter(|(wanted, _)| wanted.is_none() || *wanted == known)
            .map(|(_, case)| case.clone())
            .collect(),
        otherwise: rule.otherwise,
    };
    let mut arms = Vec::with_capacity(values.len());
    for value in values {
        arms.push((value, lower(given(Some(value)), profile)?));
    }
    let otherwise = Box::new(lower(given(None), profile)?);
    Ok(Decision::Switch {
        arg,
        arms,
        otherwise,
    })
}

/// The cases, each with the value that it asks `arg` to have, and without that question. A case that asks for
/// two values at once never holds and is left out.
fn by_value(cases: Vec<Case>, arg: u8) -> Vec<(Option<u32>, Case)> {
    let asks = |cond: &Cond| equals(cond).filter(|(of, _)| *of == arg);
    cases
        .into_iter()
        .filter_map(|mut case| {
            let mut wanted = case.when.iter().filter_map(asks).map(|(_, value)| value);
            let first = wanted.next();
            if wanted.any(|value| Some(value) != first) {
                return None;
            }
            drop(wanted);
            case.when.retain(|cond| asks(cond).is_none());
            Some((first, case))
        })
        .collect()
}

/// `int` argument and value, if that is what the condition asks.
fn equals(cond: &Cond) -> Option<(u8, u32)> {
    match (cond.width, cond.op) {
        (Width::Int, Op::Eq) => Some((cond.arg, u32::try_from(cond.value).ok()?)),
        _ => None,
    }
}

/// What is left: conditions for seccompiler.
fn chain(rule: &ArgRule, profile: &Profile) -> Result<Decision, Error> {
    let mut cases = Vec::with_capacity(rule.cases.len());
    for case in &rule.cases {
        let conditions: Result<Vec<_>, _> = case.when.iter().map(condition).collect();
        cases.push((SeccompRule::new(conditions?)?, action(case.then, profile)));
    }
    Ok(Decision::Chain {
        cases,
        otherwise: action(rule.otherwise, profile),
    })
}

/// One condition in seccompiler's words.
fn condition(cond: &Cond) -> Result<SeccompCondition, seccompiler::BackendError> {
    let width = match cond.width {
        Width::Int => SeccompCmpArgLen::Dword,
        Width::Long => SeccompCmpArgLen::Qword,
    };
    let op = match cond.op {
        Op::Eq => SeccompCmpOp::Eq,
        Op::Masked(mask) => SeccompCmpOp::MaskedEq(mask),
        Op::Ge => SeccompCmpOp::Ge,
        Op::Le => SeccompCmpOp::Le,
    };
    SeccompCondition::new(cond.arg, width, op, cond.value)
}
