//! The lanes that are held against each other: native, `sbox`, and the peers that are installed and work.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Fallible;
use crate::fixtures::Fixtures;
use crate::measure;
use sbox::syscall::table::{Mechanism, TABLE};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Native,
    /// Native once more: how far its ratio is from 1 is how far the others' can be trusted.
    Control,
    Sbox,
    /// A supervisor in C with the same mechanisms that decides nothing: what they cost alone.
    Plain,
    Strace,
    Proot,
    Bwrap,
    Sandlock,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Native,
        Self::Control,
        Self::Sbox,
        Self::Plain,
        Self::Strace,
        Self::Proot,
        Self::Bwrap,
        Self::Sandlock,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Control => "control",
            Self::Sbox => "sbox",
            Self::Plain => "plain",
            Self::Strace => "strace",
            Self::Proot => "proot",
            Self::Bwrap => "bwrap",
            Self::Sandlock => "sandlock",
        }
    }

    pub(crate) fn is_peer(self) -> bool {
        !matches!(
            self,
            Self::Native | Self::Control | Self::Sbox | Self::Plain
        )
    }

    /// Without a tool in front of the guest.
    pub(crate) fn is_bare(self) -> bool {
        matches!(self, Self::Native | Self::Control)
    }

    /// How to get a peer that is missing.
    fn hint(self) -> &'static str {
        match self {
            Self::Bwrap => "not installed (package bubblewrap)",
            Self::Sandlock => "not installed (cargo install sandlock-cli)",
            _ => "not installed",
        }
    }
}

/// The command lines of all lanes, in one place. Everybody may read `readable` and the system directories,
/// write `writable`, and has a place for temporary files.
fn flags(kind: Kind, job: &Job, fixtures: &Fixtures) -> Vec<OsString> {
    let mut flags = Flags::default();
    let work = fixtures.writable();
    match kind {
        Kind::Native | Kind::Control | Kind::Proot => {}
        Kind::Strace => flags.words("-f -o /dev/null"),
        Kind::Sbox => {
            flags.words("run -q");
            fixtures
                .readable()
                .iter()
                .chain(&job.readable)
                .for_each(|dir| flags.pair("--ro", dir));
            flags.pair("--rw", &work);
            job.env.keys().for_each(|name| flags.pair("--env", name));
            flags.words("--");
        }
        Kind::Plain => {
            if job.one_at_a_time {
                flags.words("-1");
            }
            flags.words(&notified_numbers());
        }
        Kind::Bwrap => {
            flags.words("--ro-bind / / --dev /dev --proc /proc --unshare-all --tmpfs /tmp");
            // Again, for the case that they lie under /tmp.
            fixtures
                .readable()
                .iter()
                .for_each(|dir| flags.triple("--ro-bind", dir));
            flags.triple("--bind", &work);
            flags.words("--");
        }
        Kind::Sandlock => {
            flags.words("run -r / -w /tmp -w /dev/null");
            flags.pair("-w", &work);
            flags.words("--");
        }
    }
    flags.0
}

/// The calls that `sbox` sends to its supervisor, whatever their arguments.
fn notified_numbers() -> String {
    let mut numbers: Vec<u32> = TABLE
        .iter()
        .filter(|row| matches!(row.mechanism, Mechanism::Notify))
        .map(|row| row.x86)
        .collect();
    numbers.sort_unstable();
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    numbers.join(",")
}

#[derive(Default)]
struct Flags(Vec<OsString>);

impl Flags {
    fn words(&mut self, words: &str) {
        self.0.extend(words.split(' ').map(OsString::from));
    }

    fn pair(&mut self, flag: &str, value: impl Into<OsString>) {
        self.0.extend([flag.into(), value.into()]);
    }

    fn triple(&mut self, flag: &str, dir: &Path) {
        self.0.extend([flag.into(), dir.into(), dir.into()]);
    }
}

/// A program to run in a lane.
#[derive(Clone, Default)]
pub(crate) struct Job {
    pub(crate) argv: Vec<OsString>,
    /// The whole environment, the same in all lanes. Always holds `PATH`.
    pub(crate) env: BTreeMap<&'static str, OsString>,
    /// Directories this job reads besides the fixtures and the system's.
    pub(crate) readable: Vec<PathBuf>,
    /// It never has two things to do at a time.
    pub(crate) one_at_a_time: bool,
}

impl Job {
    pub(crate) fn new<I: Into<OsString>>(argv: impl IntoIterator<Item = I>) -> Self {
        let env = BTreeMap::from([("PATH", "/usr/local/bin:/usr/bin:/bin".into())]);
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            env,
            readable: Vec::new(),
            one_at_a_time: true,
        }
    }

    /// A job that several processes do at a time.
    pub(crate) fn in_parallel(mut self) -> Self {
        self.one_at_a_time = false;
        self
    }
}

pub(crate) struct Lane {
    pub(crate) kind: Kind,
    /// The tool in front of the guest; empty for a bare lane.
    program: PathBuf,
    /// Whether the resource usage of the launched process includes the guests'.
    pub(crate) cpu_visible: bool,
}

impl Lane {
    pub(crate) fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// As [`Lane::command`], in the lane of `sbox`, which counts what reaches it.
    pub(crate) fn counting(&self, job: &Job, fixtures: &Fixtures) -> Command {
        self.command_with(&["run", "--stats"], job, fixtures)
    }

    pub(crate) fn command(&self, job: &Job, fixtures: &Fixtures) -> Command {
        self.command_with(&[], job, fixtures)
    }

    /// `first` takes the place of as many words of the lane's own.
    fn command_with(&self, first: &[&str], job: &Job, fixtures: &Fixtures) -> Command {
        let mut argv = job.argv.iter();
        let mut command = if self.kind.is_bare() {
            Command::new(argv.next().map_or_else(OsString::new, Clone::clone))
        } else {
            let mut command = Command::new(&self.program);
            let own = flags(self.kind, job, fixtures);
            command.args(first).args(own.iter().skip(first.len()));
            command
        };
        command
            .args(argv)
            .env_clear()
            .envs(&job.env)
            .current_dir(fixtures.writable());
        command
    }

    /// Whether the lane runs programs at all: output, exit status and writing have to come through.
    fn works(&self, fixtures: &Fixtures) -> Fallible<()> {
        let written = fixtures.work("probe");
        let script = "cat \"$1\" | wc -c && echo written > probe && echo works; exit 7";
        let job = Job::new([
            "sh".into(),
            "-c".into(),
            script.into(),
            "probe".into(),
            fixtures.data("4k").into_os_string(),
        ]);
        let outcome = measure::run(self.command(&job, fixtures), &fixtures.scratch())?;
        if outcome.stdout != b"4096\nworks\n" || outcome.status.code() != Some(7) {
            let said = measure::complaint(&outcome.stderr);
            return Err(
                format!("does not run a simple script ({}): {said}", outcome.status).into(),
            );
        }
        let content = std::fs::read_to_string(&written).unwrap_or_default();
        std::fs::remove_file(&written)
            .map_err(|error| format!("a written file did not arrive: {error}"))?;
        if content == "written\n" {
            Ok(())
        } else {
            Err("a written file arrived damaged".into())
        }
    }

    /// Whether CPU time of a guest's child shows up in the launched process's usage.
    fn shows_cpu(&self, fixtures: &Fixtures) -> Fallible<bool> {
        const BURN_MS: f64 = 200.0;
        let job = Job::new([
            fixtures.bin("burn").into_os_string(),
            BURN_MS.to_string().into(),
        ]);
        let outcome = measure::run(self.command(&job, fixtures), &fixtures.scratch())?;
        outcome.succeeded()?;
        Ok(outcome.cpu_ns >= 0.9 * BURN_MS * 1e6)
    }

    /// `Err` says why the lane is missing.
    fn open(kind: Kind, fixtures: &Fixtures) -> Fallible<Self> {
        let program = match kind {
            Kind::Native | Kind::Control => PathBuf::new(),
            Kind::Sbox => PathBuf::from(env!("CARGO_BIN_EXE_sbox")),
            Kind::Plain => fixtures.bin("plain_supervisor"),
            peer => on_path(peer.name()).ok_or_else(|| peer.hint())?,
        };
        let mut lane = Self {
            kind,
            program,
            cpu_visible: false,
        };
        lane.works(fixtures)?;
        lane.cpu_visible = lane.shows_cpu(fixtures)?;
        Ok(lane)
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|program| program.is_file())
}

/// A lane's name and why it is not there.
pub(crate) type Missing = (&'static str, String);

/// All lanes that work, native first, and those that do not.
pub(crate) fn find(fixtures: &Fixtures, peers: bool) -> Fallible<(Vec<Lane>, Vec<Missing>)> {
    let (mut lanes, mut missing) = (Vec::new(), Vec::new());
    for kind in Kind::ALL
        .into_iter()
        .filter(|kind| peers || !kind.is_peer())
    {
        match Lane::open(kind, fixtures) {
            Ok(lane) => lanes.push(lane),
            Err(why) if kind == Kind::Native => {
                return Err(format!("native programs do not run: {why}").into());
            }
            Err(why) => missing.push((kind.name(), why.to_string())),
        }
    }
    Ok((lanes, missing))
}
