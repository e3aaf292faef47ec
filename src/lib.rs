//! sbox: a user-space sandbox that stands on the system call boundary.
//!
//! # Theory of operation
//!
//! A program makes system calls; everything it can do to the world it does through them. sbox
//! catches the calls of untrusted programs, answers some itself, lets the kernel answer those that
//! need no decision, and refuses the rest. So it decides which files, processes and sockets exist
//! for them. It needs no root, no user namespace and no daemon.
//!
//! ```text
//! guest ──trap──▶ mechanism ──▶ syscall::args ──▶ handler(&Cx) ──Plan{asks, act}──▶ policy::decide
//!                     ▲        (copied once)    reads Task, Vfs; no effects         │ Decision + rule
//!                     └── Reply ◀── supervisor::act ◀── supervisor::service ◀───────┘ ──▶ trace
//! ```
//!
//! # Where to find what
//!
//! | module | what it is |
//! |---|---|
//! | [`syscall`] | **the table** of system calls, typed arguments, and the handlers by family |
//! | [`task`] | who is calling: threads, thread groups, their memory, their working directory |
//! | [`vfs`] | what files exist: mounts, the path walk, `/proc`, `/dev` |
//! | [`policy`] | what may be done: rules and the one function that decides |
//! | [`supervisor`] | the engine: spawning, serving, the tracer, the filter |
//! | [`mechanism`] | how calls are caught: BPF, notifications; knows no policy |
//! | [`trace`] | what crossed the boundary, for people |
//! | [`doctor`] | what this host lets sbox do, found by trying |
//! | [`sys`] | the only `unsafe`: one safe wrapper per kernel call |
//! | [`cli`] | one file per verb |
//! | [`plain`] | text that a terminal doesn't obey |
//! | [`similar`] | "did you mean …?" |
//!
//! `docs/ARCHITECTURE.md` tells the rest; `docs/ADD-A-SYSCALL.md` walks one call through all of it.

pub mod cli;
pub mod doctor;
pub mod layers;
pub mod mechanism;
pub mod plain;
pub mod policy;
pub mod similar;
pub mod supervisor;
pub mod sys;
pub mod syscall;
pub mod task;
pub mod trace;
pub mod vfs;
