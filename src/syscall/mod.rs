//! System calls: the table, typed arguments, plans and the handlers by family.

pub mod args;
pub mod attr;
pub mod dir;
mod elf;
pub mod exec;
pub mod flags;
pub mod identity;
pub mod meter;
pub mod name;
pub mod net;
pub mod numbers;
pub mod open;
pub mod others;
pub mod owner;
pub mod path;
pub mod plan;
pub mod process;
pub mod rules;
pub mod send;
pub mod signal;
pub mod table;
pub mod xattr;
