//! Tables for people (Markdown that is aligned as plain text, too) and JSON for programs.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::resource::UsageWho;
use serde_json::{Value, json};

use crate::Fallible;
use crate::bars::{self, Judged};
use crate::engine::{Figure, Matrix};
use crate::lanes::{Kind, Missing};
use crate::measure;
use crate::memory::Memory;
use crate::rows::{Row, Work};
use crate::share::Share;
use crate::stats::Summary;
use crate::text::{self, duration, number, spread, table};

pub(crate) struct Report {
    pub(crate) matrix: Matrix,
    pub(crate) shares: Vec<Share>,
    pub(crate) memory: Vec<Memory>,
    pub(crate) missing: Vec<Missing>,
    pub(crate) machine: Machine,
}

/// Where and under which load the figures were taken.
pub(crate) struct Machine {
    cpu: String,
    cpus: usize,
    kernel: String,
    minutes: f64,
    /// CPUs that programs other than the benchmark kept busy, on average.
    foreign_load: f64,
}

/// Taken at the start of a run.
pub(crate) struct MachineClock {
    start: Instant,
    busy_s: f64,
    own_s: f64,
}

impl MachineClock {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
            busy_s: busy_seconds(),
            own_s: own_seconds(),
        }
    }

    pub(crate) fn stop(self) -> Machine {
        let elapsed = self.start.elapsed().as_secs_f64();
        let foreign = (busy_seconds() - self.busy_s) - (own_seconds() - self.own_s);
        Machine {
            cpu: first_field("/proc/cpuinfo", "model name")
                .unwrap_or_else(|| "unknown CPU".to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .to_owned(),
            minutes: elapsed / 60.0,
            foreign_load: (foreign / elapsed).max(0.0),
        }
    }
}

/// CPU time of everything on the machine since boot.
fn busy_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0; // USER_HZ, fixed on Linux
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .map(|word| word.parse().unwrap_or(0.0));
    // user nice system idle iowait irq softirq steal; guest times are part of user and nice.
    let busy: f64 = ticks
        .take(8)
        .enumerate()
        .filter(|(i, _)| !matches!(i, 3 | 4))
        .map(|(_, ticks): (_, f64)| ticks)
        .sum();
    busy / TICKS_PER_SECOND
}

fn own_seconds() -> f64 {
    [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
        .into_iter()
        .filter_map(|who| measure::cpu_ns_of(who).ok())
        .sum::<f64>()
        / 1e9
}

fn first_field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

impl Report {
    pub(crate) fn publish(&self, write_docs: bool) -> Fallible<()> {
        let text = self.text();
        println!("{text}");
        let path = json_path();
        fs::create_dir_all(path.parent().ok_or("no directory for the JSON file")?)?;
        fs::write(&path, serde_json::to_string_pretty(&self.json())?)?;
        println!("Raw figures: {}", path.display());
        if write_docs {
            text::write_docs("boundary", &text)
        } else {
            Ok(())
        }
    }

    fn text(&self) -> String {
        let mut text = self.header();
        let _ = write!(
            text,
            "\n### Wall time\n\n{}",
            self.ratio_table(Figure::Wall)
        );
        let _ = write!(
            text,
            "\n### CPU time of the whole process tree\n\n{}",
            self.ratio_table(Figure::Cpu)
        );
        let _ = write!(
            text,
            "\n### Multiples of the bare notification round trip\n\n{}",
            self.floor_table()
        );
        let _ = write!(
            text,
            "\n### What the mechanism alone costs\n\nNative CPU time and one bare round trip for each call notified, \
             over native: what no supervisor can be below.\n\n{}",
            self.share_table()
        );
        let _ = write!(
            text,
            "\n### Peak resident memory of the tool\n\n{}",
            self.memory_table()
        );
        let _ = write!(text, "\n### Bars\n\n{}", bar_table(&bars::judge(self)));
        text + &self.notes()
    }

    fn header(&self) -> String {
        let Machine {
            cpu,
            cpus,
            kernel,
            minutes,
            foreign_load,
        } = &self.machine;
        format!(
            "{cpu}, {cpus} CPUs, Linux {kernel}; sbox {}; {} rounds in {minutes:.1} min; other programs kept \
             {foreign_load:.2} CPUs busy.\nLane columns are multiples of native: median (quartiles) of all turns. control is\nnative once more: its distance from 1 is the noise.\n",
            env!("CARGO_PKG_VERSION"),
            self.matrix.rounds,
        )
    }

    fn compared_kinds(&self) -> Vec<Kind> {
        self.matrix
            .lanes
            .iter()
            .map(|lane| lane.kind)
            .filter(|kind| *kind != Kind::Native)
            .collect()
    }

    fn ratio_table(&self, figure: Figure) -> String {
        let kinds = self.compared_kinds();
        let head = ["row", "native", "sbox"].into_iter().map(str::to_owned);
        let mut lines = vec![
            head.chain(kinds.iter().map(|kind| format!("{} ×", kind.name())))
                .collect(),
        ];
        for row in &self.matrix.rows {
            let own = [Kind::Native, Kind::Sbox].map(|kind| self.time_cell(row, kind, figure));
            let ratios = kinds.iter().map(|kind| self.ratio_cell(row, *kind, figure));
            lines.push(
                [row.what.clone()]
                    .into_iter()
                    .chain(own)
                    .chain(ratios)
                    .collect(),
            );
        }
        table(&lines)
    }

    fn time_cell(&self, row: &Row, kind: Kind, figure: Figure) -> String {
        self.matrix
            .value(row.name, kind, figure)
            .map_or_else(|| "–".to_owned(), |summary| duration(summary.median))
    }

    fn ratio_cell(&self, row: &Row, kind: Kind, figure: Figure) -> String {
        if matches!(row.work, Work::Floor { .. }) {
            return "–".to_owned();
        }
        if self
            .matrix
            .cell(row.name, kind)
            .is_some_and(|cell| cell.trouble.is_some())
        {
            return "fails".to_owned();
        }
        if figure == Figure::Cpu
            && self
                .matrix
                .lanes
                .iter()
                .any(|lane| lane.kind == kind && !lane.cpu_visible)
        {
            return "wall only".to_owned();
        }
        self.matrix
            .ratio(row.name, kind, Kind::Native, figure)
            .map_or_else(|| "–".to_owned(), spread)
    }

    fn floor_table(&self) -> String {
        let mut lines = vec![
            ["row", "sbox / bare round trip"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for row in ["stat", "open-close"] {
            let multiple =
                bars::times_floor(&self.matrix, row).map_or_else(|| "–".to_owned(), spread);
            lines.push(vec![row.to_owned(), multiple]);
        }
        table(&lines)
    }

    fn share_table(&self) -> String {
        let head = [
            "row",
            "calls notified",
            "ptrace stops",
            "mechanism alone",
            "sbox, CPU",
        ];
        let mut lines = vec![head.map(str::to_owned).to_vec()];
        for share in &self.shares {
            let Ok(crossings) = share.crossings else {
                continue;
            };
            let alone = crossings.floor(&self.matrix, share.row).map(number);
            let sbox = self
                .matrix
                .ratio(share.row, Kind::Sbox, Kind::Native, Figure::Cpu)
                .map(|ratio| number(ratio.median));
            lines.push(vec![
                share.row.to_owned(),
                crossings.notified.to_string(),
                crossings.stops.to_string(),
                alone.unwrap_or_else(|| "–".to_owned()),
                sbox.unwrap_or_else(|| "–".to_owned()),
            ]);
        }
        table(&lines)
    }

    fn memory_table(&self) -> String {
        let kinds: Vec<Kind> = self
            .compared_kinds()
            .into_iter()
            .filter(|kind| !kind.is_bare())
            .collect();
        let head = ["row".to_owned()].into_iter();
        let mut lines = vec![
            head.chain(kinds.iter().map(|kind| kind.name().to_owned()))
                .collect::<Vec<_>>(),
        ];
        for (row, guests) in crate::memory::ROWS {
            let cells = kinds.iter().map(|kind| self.memory_cell(row, *kind));
            lines.push(
                [format!("guest processes: {guests}")]
                    .into_iter()
                    .chain(cells)
                    .collect(),
            );
        }
        table(&lines)
    }

    #[expect(clippy::cast_precision_loss, reason = "KiB of resident memory")]
    fn memory_cell(&self, row: &str, kind: Kind) -> String {
        match self
            .memory
            .iter()
            .find(|memory| memory.row == row && memory.kind == kind)
            .map(|found| &found.outcome)
        {
            None => "–".to_owned(),
            Some(Err(_)) => "fails".to_owned(),
            Some(Ok(footprint)) => format!("{:.1} MiB", footprint.peak_kib as f64 / 1024.0),
        }
    }

    /// What is missing and what failed, with the reasons.
    fn notes(&self) -> String {
        let mut notes = String::new();
        for (name, why) in &self.missing {
            let _ = writeln!(notes, "- missing: {name}: {why}");
        }
        for (row, lane, why) in self.matrix.troubles() {
            let _ = writeln!(notes, "- fails: {lane} in {row}: {why}");
        }
        for share in &self.shares {
            if let Err(why) = &share.crossings {
                let _ = writeln!(notes, "- fails: counting in {}: {why}", share.row);
            }
        }
        for memory in &self.memory {
            if let Err(why) = &memory.outcome {
                let _ = writeln!(
                    notes,
                    "- fails: {} in {}: {why}",
                    memory.kind.name(),
                    memory.row
                );
            }
        }
        if notes.is_empty() {
            notes
        } else {
            format!("\n### Missing and failed\n\n{notes}")
        }
    }

    fn json(&self) -> Value {
        let Machine {
            cpu,
            cpus,
            kernel,
            minutes,
            foreign_load,
        } = &self.machine;
        json!({
            "sbox": env!("CARGO_PKG_VERSION"),
            "machine": { "cpu": cpu, "cpus": cpus, "kernel": kernel, "minutes": minutes, "foreign_load": foreign_load },
            "rounds": self.matrix.rounds,
            "missing": self.missing.iter().map(|(name, why)| json!({ "lane": name, "why": why })).collect::<Vec<_>>(),
            "rows": self.matrix.rows.iter().map(|row| self.row_json(row)).collect::<Vec<_>>(),
            "crossings": self.shares.iter().filter_map(|share| {
                let found = share.crossings.as_ref().ok()?;
                Some(json!({ "row": share.row, "notified": found.notified, "stops": found.stops }))
            }).collect::<Vec<_>>(),
            "memory": self.memory.iter().map(memory_json).collect::<Vec<_>>(),
            "bars": bars::judge(self).iter().map(bar_json).collect::<Vec<_>>(),
        })
    }

    fn row_json(&self, row: &Row) -> Value {
        let lanes = self.matrix.lanes.iter().filter_map(|lane| {
            let cell = self.matrix.cell(row.name, lane.kind)?;
            let samples = cell.samples.iter().map(|sample| {
                sample.map(|sample| {
                    json!({ "wall_ns": sample.wall_ns, "cpu_ns": lane.cpu_visible.then_some(sample.cpu_ns) })
                })
            });
            let ratio = |figure| self.matrix.ratio(row.name, lane.kind, Kind::Native, figure).map(summary_json);
            let body = json!({
                "samples": samples.collect::<Vec<_>>(), "trouble": cell.trouble,
                "wall_ratio": ratio(Figure::Wall), "cpu_ratio": ratio(Figure::Cpu),
            });
            Some((lane.name().to_owned(), body))
        });
        let floor = bars::times_floor(&self.matrix, row.name).map(summary_json);
        let lanes: serde_json::Map<String, Value> = lanes.collect();
        json!({ "name": row.name, "what": row.what, "lanes": lanes, "sbox_times_floor": floor })
    }
}

/// Next to the other build products, wherever they are.
fn json_path() -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.parent().unwrap_or(tmp).join("bench/boundary.json")
}

fn summary_json(summary: Summary) -> Value {
    json!({
        "median": summary.median, "quartiles": summary.quartiles,
        "min": summary.min, "max": summary.max, "turns": summary.turns,
    })
}

fn memory_json(memory: &Memory) -> Value {
    let (row, lane) = (memory.row, memory.kind.name());
    match &memory.outcome {
        Ok(found) => json!({
            "row": row, "lane": lane, "peak_kib": found.peak_kib, "now_kib": found.now_kib, "processes": found.processes,
        }),
        Err(why) => json!({ "row": row, "lane": lane, "trouble": why }),
    }
}

fn bar_json(bar: &Judged) -> Value {
    json!({ "row": bar.row, "bar": bar.bar, "measured": bar.measured, "verdict": bar.verdict.text() })
}

fn bar_table(bars: &[Judged]) -> String {
    let mut lines = vec![
        ["row", "bar", "measured", "verdict"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for bar in bars {
        lines.push(vec![
            bar.row.clone(),
            bar.bar.clone(),
            bar.measured.clone(),
            bar.verdict.text().to_owned(),
        ]);
    }
    table(&lines)
}
