//! Terminals: a guest that has one behaves in it as it does outside, and the caller's comes to no harm.
//!
//! `screens` are scenes of people at work, played in tmux(1) natively and in sbox, whose screens must be the same. `lives` and
//! `modes` are runs on a pty of the test's own: streams, signals, ends of all kinds, and what is put back then; `ask` are answers
//! to questions of a policy.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics to fail"
)]

mod ask;
mod lives;
mod modes;
mod pty;
mod screens;
mod signals;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut all = ask::tests();
    all.extend(lives::tests());
    all.extend(modes::tests());
    all.extend(signals::tests());
    all.extend(screens::tests());
    support::main(all)
}
