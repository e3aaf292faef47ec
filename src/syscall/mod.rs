//! System calls: the table, typed arguments, plans and the handlers by family.
pub mod args;
pub mod plan;
pub mod table;
