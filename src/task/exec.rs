//! The exec in progress: what was asked, approved, and is about to run.

use crate::policy::arguments::Arguments;
use crate::policy::within::Within;
use crate::vfs::Image;
use std::sync::Arc;

/// Where an exec stands.
#[derive(Debug, Default)]
pub enum ExecState {
    /// None is under way.
    #[default]
    Idle,
    /// The tracer has turned this call, execve or execveat, into the private notification.
    Asked(u32),
    /// The supervisor has approved; the tracer will rewrite the registers.
    Approved(Box<ExecPlan>),
    /// The kernel runs the call, as it was made or rewritten; at the exec stop the image is compared with
    /// the plan.
    Running(Box<ExecPlan>),
    /// The kernel could not run it as it was made: the next attempt takes the descriptor.
    Again,
    /// The new program stands ready; it is to get this name at the end of the call.
    Naming(Vec<u8>),
}

/// What an approved exec will load.
#[derive(Debug)]
pub struct ExecPlan {
    /// The guest's own path text, if it leads the kernel to the very same program.
    pub by_path: Option<Vec<u8>>,
    /// The number in the guest at which the program was injected, close-on-exec.
    pub slot: i32,
    /// Device and inode of the program.
    pub program: (u64, u64),
    /// Device and inode, as `/proc/PID/maps` shows them, of all files that may be mapped: the program, and
    /// its ELF interpreter if it has one. `None`: no guest can change either, nor what leads to them.
    pub mapped: Option<Vec<(u64, u64)>>,
    /// What its arguments must be.
    pub limits: Vec<ArgumentLimit>,
    /// Further policies within which it goes on.
    pub within: Within,
    /// What the kernel runs in the program's place.
    pub image: Option<Arc<Image>>,
    /// A NUL byte in the guest, to serve as the empty path of execveat(2).
    pub empty_at: u64,
    /// The argument vector: the guest's own, or a new one for a script's interpreter.
    pub argv: Argv,
    /// The guest's environment vector.
    pub envp: u64,
    /// The program's name as `/proc/PID/exe` shows it: a path of the view, or what else it is.
    pub exe: Vec<u8>,
    /// The path that was asked for, as the program finds it (getauxval(3), `AT_EXECFN`).
    pub asked: Vec<u8>,
    /// The name that the task will have (prctl(2), `PR_SET_NAME`): the last one of the path asked.
    pub comm: Vec<u8>,
    /// The name that the kernel will give it, which knows only the file.
    pub file_name: Vec<u8>,
}

/// A rule about the arguments of one of the programs that an exec starts: a script, or its interpreter.
#[derive(Debug)]
pub struct ArgumentLimit {
    /// What it allows.
    pub arguments: Arc<Arguments>,
    /// Where the program's own arguments begin in those of the program that is loaded; `argv[0]` of that one is number 0.
    pub from: usize,
}

/// The arguments of the new program.
#[derive(Debug)]
pub enum Argv {
    /// Where the guest put them.
    Guest(u64),
    /// Strings to be placed in the guest, followed by the guest's own from this address on.
    Script {
        /// The interpreter, its optional argument and the script's path, each ending in NUL.
        first: Vec<Vec<u8>>,
        /// The address of the guest's second argument pointer, or 0 if it has none.
        rest: u64,
    },
}
