//! sbox.
pub mod syscall;
pub mod cli;
