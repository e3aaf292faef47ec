//! sbox.
pub mod cli;
pub mod mechanism;
pub mod supervisor;
pub mod syscall;
