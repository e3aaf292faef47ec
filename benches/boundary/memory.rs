//! Resident memory of the tool in front of the guests, while 1 or 1,000 guest processes sleep.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::Fallible;
use crate::fixtures::Fixtures;
use crate::lanes::{Job, Kind, Lane};
use crate::measure::{self, Watchdog};
use crate::rows::STAT_PATH;

const PATIENCE: Duration = Duration::from_secs(60);

/// Memory rows by name and number of guest processes.
pub(crate) const ROWS: [(&str, usize); 2] = [("memory-1", 1), ("memory-1000", 1000)];

pub(crate) struct Memory {
    pub(crate) row: &'static str,
    pub(crate) kind: Kind,
    pub(crate) outcome: Result<Footprint, String>,
}

/// Sums over all processes of the tool itself, in KiB.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Footprint {
    /// `VmHWM`: the most that was ever resident.
    pub(crate) peak_kib: u64,
    /// `VmRSS`: what is resident while the guests sleep.
    pub(crate) now_kib: u64,
    pub(crate) processes: u64,
}

pub(crate) fn all(
    fixtures: &Fixtures,
    lanes: &[Lane],
    wants: impl Fn(&str) -> bool,
) -> Vec<Memory> {
    let mut found = Vec::new();
    for (row, guests) in ROWS.into_iter().filter(|(row, _)| wants(row)) {
        eprintln!("memory with {guests} guest processes");
        for lane in lanes.iter().filter(|lane| !lane.kind.is_bare()) {
            let outcome = measure_lane(fixtures, lane, guests).map_err(|why| why.to_string());
            found.push(Memory {
                row,
                kind: lane.kind,
                outcome,
            });
        }
    }
    found
}

fn measure_lane(fixtures: &Fixtures, lane: &Lane, guests: usize) -> Fallible<Footprint> {
    let job = Job::new([
        fixtures.bin("crowd").into_os_string(),
        guests.to_string().into(),
        STAT_PATH.into(),
    ]);
    let mut command = lane.command(&job, fixtures);
    let stderr = fixtures.scratch().join("stderr");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&stderr)?)
        .process_group(0);
    let mut child = command.spawn()?;
    let watchdog = Watchdog::new(child.id(), PATIENCE);
    let footprint = while_asleep(&mut child, guests);
    // Closing its standard input ends the guest.
    drop(child.stdin.take());
    let status = child.wait()?;
    if watchdog.stop() {
        return Err(format!("did not end within {} s", PATIENCE.as_secs()).into());
    }
    if !status.success() {
        return Err(format!("{status}: {}", measure::complaint(&fs::read(stderr)?)).into());
    }
    footprint
}

fn while_asleep(child: &mut Child, guests: usize) -> Fallible<Footprint> {
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
    if line != format!("ready {guests}\n") {
        return Err(format!("said {line:?} instead of \"ready {guests}\"").into());
    }
    footprint_of(child.id())
}

/// The launched process and those of its descendants that bear its name: helpers of the tool. The guests
/// have executed their own program by now and bear another. (Names, as a supervisor may hide its `exe` link.)
fn footprint_of(leader: u32) -> Fallible<Footprint> {
    let processes = all_processes()?;
    let leader = processes
        .iter()
        .find(|process| process.pid == leader)
        .ok_or("the launched process is gone")?;
    let mut family = vec![leader.pid];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(
            processes
                .iter()
                .filter(|process| process.parent == parent)
                .map(|process| process.pid),
        );
        next += 1;
    }
    let own = processes
        .iter()
        .filter(|process| family.contains(&process.pid) && process.name == leader.name);
    Ok(own.fold(Footprint::default(), |sum, process| Footprint {
        peak_kib: sum.peak_kib + process.peak_kib,
        now_kib: sum.now_kib + process.now_kib,
        processes: sum.processes + 1,
    }))
}

struct Process {
    pid: u32,
    parent: u32,
    name: String,
    peak_kib: u64,
    now_kib: u64,
}

fn all_processes() -> Fallible<Vec<Process>> {
    let entries = fs::read_dir("/proc")?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(read_process).collect())
}

/// `None` if the process has ended meanwhile.
fn read_process(pid: u32) -> Option<Process> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let value = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(value.trim().trim_end_matches(" kB").to_owned())
    };
    // A zombie or kernel thread has no memory fields.
    let kib = |name: &str| {
        field(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(0)
    };
    let parent = field("PPid")?.parse().ok()?;
    Some(Process {
        pid,
        parent,
        name: field("Name")?,
        peak_kib: kib("VmHWM"),
        now_kib: kib("VmRSS"),
    })
}
