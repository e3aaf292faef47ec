//! Seccomp profiles of others: Docker's and OCI's JSON, minijail's `.policy`; read, and made into a policy.
//!
//! ```text
//! JSON      ─oci::read──────▶ Profile ─translate──▶ [syscalls] and remarks
//! .policy   ─minijail::read─▶
//! ```
//! What can't be said in ours is never passed over: it is a [`Remark`], and the stricter reading is written.

mod condition;
pub mod export;
mod joined;
mod json;
mod minijail;
mod oci;
mod translate;

pub use minijail::Includes;
pub use translate::Translated;

use super::lang::predicate::Param;
use super::lang::{Fault, Sources, Where, Words};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Allow,
    /// Allowed, and the kernel writes a line to its log.
    Log,
    Errno(u64),
    /// SIGSYS, which the program may handle.
    Trap,
    KillThread,
    KillProcess,
    /// To a tracer, or ENOSYS where there is none.
    Trace,
    /// To a listener, or ENOSYS where there is none.
    Notify,
}

impl Action {
    /// Of two, the stricter has the greater.
    fn strictness(self) -> u8 {
        match self {
            Self::Allow | Self::Log => 0,
            Self::Errno(_) | Self::Trace | Self::Notify => 1,
            Self::Trap | Self::KillThread | Self::KillProcess => 2,
        }
    }
}

/// How a register is compared: all 64 bits, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// These bits have the value.
    Masked(u64),
    /// From this on, up to the value.
    Within(u64),
    /// One of the value's bits is set.
    Bits,
}

/// A test of one register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cond {
    arg: usize,
    op: Op,
    value: u64,
}

/// What a profile says of a call.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    call: String,
    at: Where,
    action: Action,
    /// Lists of tests, of which one must hold whole; `None`: whatever the arguments.
    when: Option<Vec<Vec<Cond>>>,
}

/// A profile, whatever its format.
#[derive(Debug)]
pub(super) struct Profile {
    sources: Sources,
    format: Format,
    default: Action,
    default_at: Where,
    rules: Vec<Rule>,
    remarks: Vec<Remark>,
}

/// How a translation differs from its original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Something is allowed that the original refuses, as nobody here can refuse it.
    Wider,
    /// Something is refused that the original allows, or otherwise.
    Stricter,
    /// It does not, but somebody may wonder.
    Note,
}

/// Something to be told of a translation.
#[derive(Clone, Debug)]
pub struct Remark {
    /// How much it matters.
    pub weight: Weight,
    /// Where in the original.
    pub at: Where,
    /// What.
    pub what: String,
}

impl Remark {
    fn new(weight: Weight, at: Where, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { weight, at, what }
    }
}

/// Formats that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The profile of `docker run --security-opt seccomp=FILE`, with `includes` and `excludes`.
    Docker,
    /// `linux.seccomp` of the OCI's runtime-spec, by itself or in a config.json.
    Oci,
    /// A minijail `.policy`.
    Minijail,
}

impl Format {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "Docker seccomp profile",
            Self::Oci => "OCI seccomp profile",
            Self::Minijail => "minijail policy",
        }
    }

    /// By what is in a file: JSON is an object, and only Docker's has conditions on machines and capabilities.
    pub fn detect(text: &str) -> Self {
        let docker = ["\"archMap\"", "\"includes\"", "\"excludes\"", "\"comment\""];
        match text.trim_start().strip_prefix('{') {
            // A minijail policy may begin with a list of calls in braces.
            Some(rest) if rest.trim_start().starts_with(['"', '}']) => {
                match docker.iter().any(|key| text.contains(key)) {
                    true => Self::Docker,
                    false => Self::Oci,
                }
            }
            _ => Self::Minijail,
        }
    }
}

/// Names the parameter of a call, from 0, for a condition; or tells what is wrong with it.
pub type ParamAt = fn(&str, usize) -> Result<(&'static str, Param), String>;

/// Tells which calls of a policy's text have rules that can't be enforced, and why; an error: it is no policy.
pub type Unfit<'u> = &'u dyn Fn(&str) -> Result<Vec<(String, String)>, String>;

/// What only others know.
pub struct Host<'h> {
    /// Names of calls and constants.
    pub words: &'h Words,
    /// Parameters by number.
    pub param: ParamAt,
    /// The value of an argument by the names of its constants.
    pub show: fn(&str, usize, u64) -> Option<String>,
    /// Why sbox refuses a call whatever a policy says.
    pub refuses: fn(&str) -> Option<&'static str>,
    /// Calls that sbox makes in the program itself, which no policy can refuse.
    pub needed: &'h [&'h str],
    /// The running kernel, for `minKernel`.
    pub kernel: (u64, u64),
    /// Calls whose rules in a policy's text can't be enforced, and why.
    pub unfit: Unfit<'h>,
}

/// Reads a profile and translates it. `includes` reads what a minijail policy includes.
pub fn import(
    name: &str,
    text: String,
    format: Format,
    includes: Includes<'_>,
    host: &Host<'_>,
) -> Result<Translated, (Vec<Fault>, Sources)> {
    let profile = match format {
        Format::Minijail => minijail::read(name, text, includes, host)?,
        Format::Docker | Format::Oci => oci::read(name, text, format, host)?,
    };
    translate::to_policy(profile, host)
}
