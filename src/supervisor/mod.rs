//! Where calls are served.

pub mod filter;
