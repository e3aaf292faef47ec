//! The only room with `unsafe`.
#![allow(unsafe_code)]

pub mod probe;
