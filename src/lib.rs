//! sbox.
pub mod cli;
pub mod doctor;
pub mod mechanism;
pub mod supervisor;
pub mod sys;
pub mod syscall;
