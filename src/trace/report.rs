//! `--report FILE`: one JSON object a line, for programs.
//!
//! A line is written whole and at once, so that what a killed run leaves is a report without its end. Bytes that are
//! no plain text stand as `\xNN` in paths and arguments: JSON escapes nothing but what it must, and a terminal obeys.

use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A line.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "docs/POLICY.md describes the fields")]
pub enum Record<'r> {
    /// The first line.
    Start {
        /// Of the format.
        version: u32,
        sbox: &'static str,
        mode: &'r str,
        policy: Option<&'r str>,
        shadow: Option<&'r str>,
        program: Vec<String>,
        /// What the policy asks for and nobody enforces.
        gaps: Vec<String>,
    },
    /// A refusal.
    Denied(Body<'r>),
    /// A refusal at which all was killed.
    Killed(Body<'r>),
    /// Done; would be refused.
    WouldDeny(Body<'r>),
    /// Done; would end the run.
    WouldKill(Body<'r>),
    /// Done; the shadow would refuse it.
    ShadowDenies(Body<'r>),
    /// Refused; the shadow wouldn't.
    ShadowAllows(Body<'r>),
    /// An incident that came again.
    Again { number: u64, times: u64 },
    /// All incidents of one rule.
    Count {
        kind: &'r str,
        by: &'r str,
        calls: u64,
    },
    /// The last line.
    End {
        status: Option<i32>,
        signal: Option<i32>,
        denied: u64,
        killed: u64,
        /// The rule that ended the run.
        #[serde(skip_serializing_if = "Option::is_none")]
        killed_by: Option<&'r str>,
        would_deny: u64,
        would_kill: u64,
        shadow_denies: u64,
        shadow_allows: u64,
        untold: u64,
        unasked: u64,
    },
}

/// An incident.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "docs/POLICY.md describes the fields")]
pub struct Body<'r> {
    pub number: u64,
    pub task: i32,
    pub call: &'r str,
    pub arguments: &'r str,
    pub answer: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// None: no rule.
    pub rule: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_allow: Option<&'r str>,
}

/// The file.
#[derive(Debug)]
pub struct Report {
    path: PathBuf,
    out: Mutex<Out>,
}

#[derive(Debug)]
struct Out {
    file: File,
    /// Nothing more is written: it has ended, or failed.
    ended: bool,
}

impl Report {
    /// Makes the file, for its owner alone, or empties it. What is no file of one name and the caller's own is
    /// left alone: a guest of an earlier run may have put a link there.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(path)
            .map_err(|error| match error.raw_os_error() {
                Some(libc::ELOOP) => io::Error::other("is a symbolic link, which is not followed"),
                _ => error,
            })?;
        let meta = file.metadata()?;
        let own = meta.uid() == nix::unistd::geteuid().as_raw();
        if !meta.is_file() || meta.nlink() != 1 || !own {
            let why = "is there and no file with one name of your own";
            return Err(io::Error::other(why));
        }
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.set_len(0)?;
        Ok(Self {
            path: path.to_owned(),
            out: Mutex::new(Out { file, ended: false }),
        })
    }

    /// Writes a line.
    pub fn write(&self, record: &Record<'_>) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        if out.ended {
            return;
        }
        let line = serde_json::to_vec(record).map_err(io::Error::other);
        let written = line.and_then(|mut line| {
            line.push(b'\n');
            out.file.write_all(&line)
        });
        if let Err(error) = written {
            super::tell(&format!(
                "--report {}: {error}; it ends here",
                self.path.display()
            ));
            out.ended = true;
        }
    }

    /// Brings all to the disk. What is written later is of a guest that is being killed.
    pub(super) fn finish(&self) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.ended = true;
        if let Err(error) = out.file.sync_data() {
            super::tell(&format!("--report {}: {error}", self.path.display()));
        }
    }
}
