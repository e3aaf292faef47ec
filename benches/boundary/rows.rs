//! The rows: what is run, how often, and how a run proves that it did its work.

use std::path::PathBuf;

use crate::fixtures::{
    C_PROGRAM_SAYS, CRATE_SAYS, DIR_ENTRIES, FIND_ROOTS, Fixtures, GIT_ENV, GIT_STATUS,
};
use crate::lanes::Job;

/// Names of all rows in the order of the tables; the last two are measured apart (`memory.rs`).
pub(crate) const ROW_NAMES: [&str; 22] = [
    "getuid",
    "read-zero",
    "read-4k",
    "floor",
    "stat",
    "open-close",
    "getdents",
    "spawn-static",
    "spawn-dynamic",
    "fork",
    "thread",
    "ping-pong",
    "ps",
    "start-up",
    "python",
    "find",
    "git-status",
    "make",
    "cargo-build",
    "pipe",
    "memory-1",
    "memory-1000",
];

/// Rows cheap enough for a smoke run.
pub(crate) const SMOKE_ROWS: [&str; 4] = ["getuid", "stat", "spawn-static", "start-up"];

/// The file that stat and open+close look at: the same number of components on every machine.
pub(crate) const STAT_PATH: &str = "/usr/bin/env";

pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// What one unit of the row is.
    pub(crate) what: String,
    pub(crate) work: Work,
    /// Peers take part in no more rounds than these: some need seconds where native needs milliseconds.
    pub(crate) peer_rounds: Option<usize>,
    /// Turns of native and sbox per round, to make up for short ones.
    pub(crate) visits: usize,
}

pub(crate) enum Work {
    /// A guest with a loop inside. It gets its count as the argument after `job`'s and before `tail`.
    Loop {
        job: Job,
        tail: Option<PathBuf>,
        /// What the loop has to count up per call.
        check_per_call: u64,
    },
    /// A program as a whole, `repeat` times per round.
    Program {
        job: Job,
        repeat: usize,
        proof: Proof,
    },
    /// The bare notification round trip: a loop that runs natively only, as it brings its own supervisor.
    Floor { job: Job },
}

/// How a program shows that it worked, besides exit status 0.
pub(crate) enum Proof {
    Status,
    Prints(&'static str),
    Lines(usize),
    /// `program`, under `directory` (removed before each run), prints this when run natively.
    Builds {
        directory: PathBuf,
        program: PathBuf,
        prints: &'static str,
    },
}

/// All rows over these fixtures.
pub(crate) fn all(fixtures: &Fixtures) -> Vec<Row> {
    let mut rows = micro_rows(fixtures);
    rows.extend(macro_rows(fixtures));
    rows
}

/// Turns per round of the rows that take a tenth of a second.
const SHORT_ROW_VISITS: usize = 5;

fn micro(
    fixtures: &Fixtures,
    name: &'static str,
    call: &str,
    path: Option<PathBuf>,
    what: &str,
) -> Row {
    let job = Job::new([fixtures.bin("micro").into_os_string(), call.into()]);
    let check_per_call = if call == "getdents" {
        DIR_ENTRIES as u64 + 2
    } else {
        1
    };
    Row {
        name,
        what: what.to_owned(),
        work: Work::Loop {
            job,
            tail: path,
            check_per_call,
        },
        peer_rounds: None,
        visits: SHORT_ROW_VISITS,
    }
}

fn micro_rows(fixtures: &Fixtures) -> Vec<Row> {
    let stat_path = || Some(PathBuf::from(STAT_PATH));
    let floor = Work::Floor {
        job: Job::new([fixtures.bin("notify_floor")]),
    };
    let what = "bare notification round trip".to_owned();
    vec![
        micro(fixtures, "getuid", "getuid", None, "getuid"),
        micro(
            fixtures,
            "read-zero",
            "read-zero",
            Some("/dev/zero".into()),
            "read 1 byte of /dev/zero",
        ),
        micro(
            fixtures,
            "read-4k",
            "read-4k",
            Some(fixtures.data("4k")),
            "read 4 KiB of a file",
        ),
        Row {
            name: "floor",
            what,
            work: floor,
            peer_rounds: None,
            visits: SHORT_ROW_VISITS,
        },
        micro(fixtures, "stat", "stat", stat_path(), "stat /usr/bin/env"),
        micro(
            fixtures,
            "open-close",
            "open-close",
            stat_path(),
            "open+close /usr/bin/env",
        ),
        micro(
            fixtures,
            "getdents",
            "getdents",
            Some(fixtures.data("wide")),
            "getdents of 10,000 entries",
        ),
        micro(
            fixtures,
            "spawn-static",
            "spawn",
            Some(fixtures.bin("noop")),
            "fork+exec+wait, static program",
        ),
        micro(
            fixtures,
            "spawn-dynamic",
            "spawn",
            Some(fixtures.bin("noop_dynamic")),
            "fork+exec+wait, dynamic program",
        ),
        micro(fixtures, "fork", "fork", None, "fork+wait"),
        micro(fixtures, "thread", "thread", None, "thread create+join"),
        micro(
            fixtures,
            "ping-pong",
            "ping-pong",
            None,
            "ping-pong by pipes, with a signal",
        ),
    ]
}

fn program(name: &'static str, what: &str, job: Job, proof: Proof) -> Row {
    Row {
        name,
        what: what.to_owned(),
        work: Work::Program {
            job,
            repeat: 1,
            proof,
        },
        peer_rounds: Some(2),
        visits: 1,
    }
}

fn macro_rows(fixtures: &Fixtures) -> Vec<Row> {
    let find = format!(
        "find {} -xdev ({} entries)",
        FIND_ROOTS.join(" "),
        fixtures.find_lines
    );
    let find_job = Job::new(["find"].into_iter().chain(FIND_ROOTS).chain(["-xdev"]));
    let pipe_job =
        Job::new(["sh", "-c", "head -c 1073741824 /dev/zero | cat | wc -c"]).in_parallel();
    let mut pipe = program(
        "pipe",
        "cat of 1 GiB between two pipes",
        pipe_job,
        Proof::Prints("1073741824\n"),
    );
    pipe.peer_rounds = Some(1);
    vec![
        processes_listed(),
        start_up(
            "start-up",
            "start-up of /bin/true",
            Job::new(["/bin/true"]),
            15,
        ),
        start_up(
            "python",
            "python3 -c pass",
            Job::new(["/usr/bin/python3", "-c", "pass"]),
            4,
        ),
        short(program(
            "find",
            &find,
            find_job,
            Proof::Lines(fixtures.find_lines),
        )),
        git_status(fixtures),
        make(fixtures),
        cargo_build(fixtures),
        pipe,
    ]
}

/// By their numbers: natively a list of all would be of more than there are in a sandbox.
fn processes_listed() -> Row {
    let script = "for i in $(seq 100); do sleep 60 & all=$all,$!; done
for i in $(seq 5); do ps -o pid=,ppid=,stat=,args= -p ${all#,}; done | wc -l
kill $(echo $all | tr , ' ')";
    program(
        "ps",
        "ps of 100 processes, 5 times, and their making",
        Job::new(["sh", "-c", script]),
        Proof::Prints("500\n"),
    )
}

/// A row that is short for native, if not for peers.
fn short(row: Row) -> Row {
    Row {
        visits: SHORT_ROW_VISITS,
        ..row
    }
}

fn start_up(name: &'static str, what: &str, job: Job, repeat: usize) -> Row {
    let work = Work::Program {
        job,
        repeat,
        proof: Proof::Status,
    };
    Row {
        name,
        what: what.to_owned(),
        work,
        peer_rounds: None,
        visits: 1,
    }
}

fn git_status(fixtures: &Fixtures) -> Row {
    let tree = fixtures.data("tree").into_os_string();
    let mut job = Job::new(["git", "--no-optional-locks", "-c", "safe.directory=*", "-C"]);
    job.argv
        .extend([tree, "status".into(), "--porcelain".into()]);
    job.env
        .extend(GIT_ENV.map(|(name, value)| (name, value.into())));
    short(program(
        "git-status",
        "git status, 10,000 files",
        job,
        Proof::Prints(GIT_STATUS),
    ))
}

fn make(fixtures: &Fixtures) -> Row {
    let out = fixtures.work("make");
    let mut out_flag = std::ffi::OsString::from("OUT=");
    out_flag.push(&out);
    let mut job = Job::new(["make", "-s", "-j2", "-C"]).in_parallel();
    job.argv
        .extend([fixtures.data("cproject").into_os_string(), out_flag]);
    let proof = Proof::Builds {
        program: out.join("program"),
        directory: out,
        prints: C_PROGRAM_SAYS,
    };
    program("make", "make -j2, 51 C files", job, proof)
}

/// The target that a crate is built for.
const CARGO_TARGET: &str = "x86_64-unknown-linux-gnu";

fn cargo_build(fixtures: &Fixtures) -> Row {
    let target = fixtures.work("cargo-target");
    let places = &fixtures.cargo;
    let mut job = Job::new([
        "cargo",
        "build",
        "--quiet",
        "--offline",
        "--locked",
        "--manifest-path",
    ])
    .in_parallel();
    job.argv
        .push(fixtures.data("crate").join("Cargo.toml").into_os_string());
    let mut path = places.cargo_home.join("bin").into_os_string();
    path.push(":/usr/local/bin:/usr/bin:/bin");
    job.env.extend([
        ("PATH", path),
        ("HOME", places.home.clone().into_os_string()),
        ("CARGO_HOME", places.cargo_home.clone().into_os_string()),
        ("RUSTUP_HOME", places.rustup_home.clone().into_os_string()),
        ("CARGO_TARGET_DIR", target.clone().into_os_string()),
        // What this project's own configuration says is not for the crate, which a sandbox wouldn't know of it.
        ("CARGO_BUILD_TARGET", CARGO_TARGET.into()),
        ("RUSTFLAGS", "".into()),
    ]);
    // Set by rustup's cargo; without it a machine that has no default toolchain would not know which to take.
    job.env
        .extend(std::env::var_os("RUSTUP_TOOLCHAIN").map(|name| ("RUSTUP_TOOLCHAIN", name)));
    job.readable = [&places.cargo_home, &places.rustup_home]
        .into_iter()
        .filter(|dir| dir.exists())
        .cloned()
        .collect();
    let proof = Proof::Builds {
        program: target.join(CARGO_TARGET).join("debug/small"),
        directory: target,
        prints: CRATE_SAYS,
    };
    program("cargo-build", "cargo build, small crate", job, proof)
}
