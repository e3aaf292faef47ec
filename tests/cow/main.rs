//! The copy-on-write engine: what it does, and that it does what the kernel's overlayfs does.
//!
//! | variable         | meaning                                    | default      |
//! |------------------|--------------------------------------------|--------------|
//! | `SBOX_COW_SEED`  | seed of the first random run               | by the clock |
//! | `SBOX_COW_RUNS`  | random runs for each number of lowers      | 4            |
//! | `SBOX_COW_OPS`   | operations in each                         | 400          |
//! | `SBOX_COW_TRACE` | if set, each operation is printed          |              |

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, which may fail"
)]

#[path = "../support/mod.rs"]
mod support;

mod cases;
mod crashes;
mod ops;
mod oracle;
mod sides;
mod steps;
mod tree;

use std::process::ExitCode;

fn main() -> ExitCode {
    // The test calls itself in a mount namespace of its own: see `oracle`.
    if let Some(role) = std::env::var_os("SBOX_COW_ROLE") {
        return oracle::child(&role.to_string_lossy());
    }
    let mut all = cases::all();
    all.extend(oracle::all());
    support::main(all)
}
