//! How calls are caught. Knows no policy.

pub mod bpf;
pub mod notify;
