//! Registers to typed arguments.
use super::plan::{Cx, Errno};

/// A typed argument of a system call: copied out of the guest exactly once.
pub trait Arg<'a>: Sized {
    /// Makes the argument from the raw register; reads guest memory at most once.
    fn decode(cx: &Cx<'a>, raw: u64) -> Result<Self, Errno>;
}
