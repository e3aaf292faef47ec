//! Tests of registers, as others write them, to conditions of the language.
//!
//! Others compare all 64 bits of a register. The kernel looks at as many as the parameter has, and so do we: a test of
//! the other bits would be passed by whoever sets them.

use super::{Cond, Host, Op};
use crate::policy::lang::predicate::{self, Names, Param};

/// What a test comes to.
pub(super) enum Said {
    Text(String),
    /// It holds whatever the argument.
    Always,
    Never,
}

/// One test; or why it can't be said.
pub(super) fn said(call: &str, cond: &Cond, host: &Host<'_>) -> Result<Said, String> {
    let (name, param) = (host.param)(call, cond.arg)?;
    let all = match param.bits {
        64 => u64::MAX,
        bits => (1u64 << bits) - 1,
    };
    let value = |value: u64| shown(call, cond.arg, name, &param, value & all, host);
    // A negative number of fewer bits is one of 64 with its sign.
    let negative = cond.value & !all == !all && cond.value & (all / 2 + 1) != 0;
    let fits = cond.value & !all == 0 || negative;
    let beyond = || {
        Err(format!(
            "{:#x} has more than the {} bits that the kernel looks at in '{name}'",
            cond.value, param.bits
        ))
    };
    Ok(match cond.op {
        Op::Eq if fits => Said::Text(format!("{name} == {}", value(cond.value))),
        Op::Ne if fits => Said::Text(format!("{name} != {}", value(cond.value))),
        Op::Eq | Op::Ne => return beyond(),
        Op::Masked(mask) if cond.value & !mask != 0 => Said::Never,
        Op::Masked(_) if !fits => return beyond(),
        Op::Masked(mask) if mask & all == 0 => Said::Always,
        Op::Masked(mask) if mask & all == all => {
            Said::Text(format!("{name} == {}", value(cond.value)))
        }
        Op::Masked(mask) => Said::Text(format!(
            "{name} & {} == {}",
            value(mask),
            match cond.value & all {
                0 => "0".into(),
                bits => value(bits),
            }
        )),
        Op::Bits if cond.value & all == 0 => Said::Never,
        Op::Bits => Said::Text(format!("{name} & {}", value(cond.value))),
        Op::Lt if cond.value == 0 => Said::Never,
        Op::Gt if cond.value == u64::MAX => Said::Never,
        Op::Ge if cond.value == 0 => Said::Always,
        Op::Le if cond.value == u64::MAX => Said::Always,
        Op::Lt if cond.value - 1 == all => Said::Always,
        // Which of two numbers is greater the sign decides, and who wrote it compared without one.
        Op::Le | Op::Ge | Op::Lt | Op::Gt if cond.value & !all != 0 => return beyond(),
        Op::Le => within(name, &param, 0, cond.value & all, all),
        Op::Lt => within(name, &param, 0, (cond.value & all) - 1, all),
        Op::Ge => within(name, &param, cond.value & all, all, all),
        Op::Gt if cond.value & all == all => Said::Never,
        Op::Gt => within(name, &param, (cond.value & all) + 1, all, all),
        Op::Within(_) if cond.value & !all != 0 => return beyond(),
        Op::Within(0) if cond.value == all => Said::Always,
        Op::Within(low) if low == cond.value => Said::Text(format!("{name} == {}", value(low))),
        Op::Within(low) => within(name, &param, low, cond.value, all),
    })
}

/// Numbers without a sign, from one to another, said of a parameter that may have one.
fn within(name: &str, param: &Param, low: u64, high: u64, all: u64) -> Said {
    let half = all / 2 + 1;
    // What has the upper bit is a negative number.
    let below = |value: u64| i128::from(value) - i128::from(all) - 1;
    Said::Text(match (low < half, high < half) {
        _ if !param.signed && low == 0 => format!("{name} <= {high}"),
        _ if !param.signed && high == all => format!("{name} >= {low}"),
        _ if !param.signed => format!("{name} >= {low} && {name} <= {high}"),
        (true, true) => format!("{name} >= {low} && {name} <= {high}"),
        (true, false) if high == all => format!("({name} >= {low} || {name} < 0)"),
        (true, false) => format!("({name} >= {low} || {name} <= {})", below(high)),
        (false, _) if high == all => format!("{name} < 0 && {name} >= {}", below(low)),
        (false, _) => format!("{name} >= {} && {name} <= {}", below(low), below(high)),
    })
}

/// A value by the names of its constants, if they mean it; else the number.
fn shown(call: &str, arg: usize, name: &str, param: &Param, value: u64, host: &Host<'_>) -> String {
    let number = match value {
        0..=0xffff => value.to_string(),
        _ => format!("{value:#x}"),
    };
    let Some(words) = (host.show)(call, arg, value) else {
        return number;
    };
    let names = Names {
        param: &|_| Ok(*param),
        constant: &|word| host.words.constant.and_then(|constant| constant(word)),
    };
    let read = |value: &str| predicate::parse(&format!("{name} == {value}"), &names).ok();
    let same = read(&words).is_some_and(|expr| Some(expr) == read(&number));
    if same { words } else { number }
}
