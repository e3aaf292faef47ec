//! The calls of a policy as JSON of the OCI's runtime-spec (config-linux.md, Seccomp), which Docker reads too.
//!
//! In libseccomp(3) an entry without tests beats those with, and of two with tests that both hold nobody should want to know which
//! decides. So a call has one entry without, or several of which at most one holds. In an entry runc takes tests of the same
//! argument for alternatives: there is one for each.

use crate::sys::Errno;
use serde::Serialize;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is made.
    Allow,
    /// It answers this.
    Errno(Errno),
    /// The program is killed.
    Kill,
}

/// Some bits of an argument, and the value that they must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Arg {
    index: usize,
    /// The mask.
    value: u64,
    /// What is behind it.
    #[serde(rename = "valueTwo")]
    value_two: u64,
    op: &'static str,
}

impl Arg {
    /// `argument & mask == value`
    pub fn masked(index: usize, mask: u64, value: u64) -> Self {
        Self {
            index,
            value: mask,
            value_two: value,
            op: "SCMP_CMP_MASKED_EQ",
        }
    }
}

#[derive(Debug, Serialize)]
struct Entry {
    names: Vec<&'static str>,
    action: &'static str,
    #[serde(rename = "errnoRet", skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<Arg>,
}

/// A profile.
#[derive(Debug, Serialize)]
pub struct Exported {
    #[serde(rename = "defaultAction")]
    default: &'static str,
    #[serde(rename = "defaultErrnoRet")]
    default_errno: i32,
    architectures: [&'static str; 1],
    syscalls: Vec<Entry>,
}

/// What unknown numbers get. An entry with the same would be refused by libseccomp.
const DEFAULT: Answer = Answer::Errno(Errno::ENOSYS);

impl Answer {
    fn words(self) -> (&'static str, Option<i32>) {
        match self {
            Self::Allow => ("SCMP_ACT_ALLOW", None),
            Self::Errno(errno) => ("SCMP_ACT_ERRNO", Some(errno as i32)),
            Self::Kill => ("SCMP_ACT_KILL_PROCESS", None),
        }
    }
}

impl Default for Exported {
    fn default() -> Self {
        Self {
            default: DEFAULT.words().0,
            default_errno: Errno::ENOSYS as i32,
            architectures: ["SCMP_ARCH_X86_64"],
            syscalls: Vec::new(),
        }
    }
}

impl Exported {
    /// A call with some arguments, none of which another entry of the same call has; without `args`: with any.
    pub fn add(&mut self, call: &'static str, args: Vec<Arg>, answer: Answer) {
        if answer == DEFAULT {
            return;
        }
        let (action, errno) = answer.words();
        let same = |entry: &&mut Entry| {
            args.is_empty()
                && entry.args.is_empty()
                && (entry.action, entry.errno) == (action, errno)
        };
        if let Some(entry) = self.syscalls.iter_mut().find(same) {
            return entry.names.push(call);
        }
        self.syscalls.push(Entry {
            names: vec![call],
            action,
            errno,
            args,
        });
    }

    /// As a file.
    pub fn text(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}
