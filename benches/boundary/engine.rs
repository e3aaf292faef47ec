//! Runs rows × lanes, interleaved: per round and row every lane once, in a new random order.

use std::fs;

use crate::Fallible;
use crate::fixtures::Fixtures;
use crate::lanes::{Job, Kind, Lane};
use crate::measure::{self, Outcome};
use crate::rows::{Proof, Row, Work};
use crate::stats::{self, Dice, Summary};

/// How long the loop of a micro row should take.
const LOOP_NS: f64 = 80e6;
const MAX_CALLS: f64 = 2e6;
/// Calls of the warm-up from which the count is worked out.
const WARM_UP_CALLS: u64 = 20;

/// One round of one cell, per unit of the row (a call, a program).
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// Micro rows: by the guest's clock around its loop. Programs: from spawn to wait.
    pub(crate) wall_ns: f64,
    /// Not a number where it could not be told from start-up.
    pub(crate) cpu_ns: f64,
}

/// A row in a lane.
#[derive(Default)]
pub(crate) struct Cell {
    /// By turn; `None` where the lane sat out.
    pub(crate) samples: Vec<Option<Sample>>,
    /// Why the cell has no figures. The first failure ends a cell: figures around a failure are not to be trusted.
    pub(crate) trouble: Option<String>,
    calls: u64,
}

pub(crate) struct Matrix {
    pub(crate) rows: Vec<Row>,
    pub(crate) lanes: Vec<Lane>,
    /// By row, then by lane. The floor row has figures in the native lane alone.
    cells: Vec<Vec<Cell>>,
    pub(crate) rounds: usize,
}

pub(crate) fn run(fixtures: &Fixtures, lanes: Vec<Lane>, rows: Vec<Row>, rounds: usize) -> Matrix {
    let cells = rows
        .iter()
        .map(|_| lanes.iter().map(|_| Cell::default()).collect())
        .collect();
    let mut matrix = Matrix {
        rows,
        lanes,
        cells,
        rounds,
    };
    let mut dice = Dice::new();
    // Round 0 warms caches up, checks every cell once and finds loop counts; it leaves no samples.
    for round in 0..=rounds {
        for (row, cells) in matrix.rows.iter().zip(&mut matrix.cells) {
            eprintln!("round {round} of {rounds}: {}", row.name);
            let visits = if round == 0 { 1 } else { row.visits };
            for visit in 0..visits {
                let mut turn: Vec<(&Lane, &mut Cell)> = matrix
                    .lanes
                    .iter()
                    .zip(cells.iter_mut())
                    .filter(|(lane, _)| row.concerns(lane))
                    .collect();
                dice.shuffle(&mut turn);
                for (lane, cell) in turn {
                    let stand = Stand {
                        row,
                        lane,
                        fixtures,
                    };
                    cell.take_turn(stand.part(round, visit, rounds), &stand);
                }
            }
        }
    }
    matrix
}

impl Row {
    fn concerns(&self, lane: &Lane) -> bool {
        lane.kind == Kind::Native || !matches!(self.work, Work::Floor { .. })
    }
}

impl Cell {
    fn take_turn(&mut self, part: Part, stand: &Stand) {
        match part {
            _ if self.trouble.is_some() => {}
            Part::WarmUp => match stand.warm_up() {
                Ok(calls) => self.calls = calls,
                Err(why) => self.fail(why.to_string()),
            },
            Part::Measure => self.measure(stand),
            Part::SitOut => self.samples.push(None),
            Part::Nothing => {}
        }
    }

    fn measure(&mut self, stand: &Stand) {
        match stand.sample(self.calls) {
            Ok(sample) => self.samples.push(Some(sample)),
            Err(why) => self.fail(why.to_string()),
        }
    }

    fn fail(&mut self, why: String) {
        self.samples.clear();
        self.trouble = Some(why);
    }

    fn figures(&self, figure: Figure) -> impl Iterator<Item = Option<f64>> {
        self.samples
            .iter()
            .map(move |sample| sample.as_ref().map(|sample| figure.of(*sample)))
    }
}

/// A row in a lane, ready to run.
struct Stand<'a> {
    row: &'a Row,
    lane: &'a Lane,
    fixtures: &'a Fixtures,
}

/// A lane's part in one turn of a row.
enum Part {
    WarmUp,
    Measure,
    SitOut,
    /// Not even a gap among the samples.
    Nothing,
}

impl Stand<'_> {
    /// Peers come once per round, and in long rows only in the first few, without a warm-up: native has
    /// filled the caches by then, and every run is checked anyway.
    fn part(&self, round: usize, visit: usize, rounds: usize) -> Part {
        let peer = self.lane.kind.is_peer();
        let last = self
            .row
            .peer_rounds
            .map(|limit| limit.min(rounds / 2).max(1));
        match (round, last) {
            (0, Some(_)) if peer => Part::Nothing,
            (0, _) => Part::WarmUp,
            (_, Some(last)) if peer && round > last => Part::SitOut,
            _ if peer && visit > 0 => Part::SitOut,
            _ => Part::Measure,
        }
    }

    /// The loop count that fills the time of a micro row; 1 for programs.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded just before"
    )]
    fn warm_up(&self) -> Fallible<u64> {
        if let Work::Program { job, proof, .. } = &self.row.work {
            return self.run_program(job, proof).map(|_| 1);
        }
        // Twice, as the first few calls take longer than the rest.
        let (first, _) = self.run_loop(WARM_UP_CALLS)?;
        let (later, _) = self.run_loop((LOOP_NS / 10.0 / first).clamp(10.0, MAX_CALLS) as u64)?;
        Ok((LOOP_NS / later).clamp(10.0, MAX_CALLS) as u64)
    }

    fn sample(&self, calls: u64) -> Fallible<Sample> {
        match &self.row.work {
            Work::Program { job, repeat, proof } => self.sample_program(job, *repeat, proof),
            Work::Loop { .. } | Work::Floor { .. } => self.sample_loop(calls),
        }
    }

    /// CPU time of a call is that of a long run less that of a run with one call: start-up is another row.
    #[expect(clippy::cast_precision_loss, reason = "counts stay under MAX_CALLS")]
    fn sample_loop(&self, calls: u64) -> Fallible<Sample> {
        let (_, cpu_of_one) = self.run_loop(1)?;
        let (wall_ns, cpu_of_all) = self.run_loop(calls)?;
        let cpu_ns = (cpu_of_all - cpu_of_one) / (calls - 1) as f64;
        // Start-up time varies by its own size; a loop that took no longer cannot be told from it.
        let clear = cpu_of_all > 2.0 * cpu_of_one;
        Ok(Sample {
            wall_ns,
            cpu_ns: if clear { cpu_ns } else { f64::NAN },
        })
    }

    /// Time of a call as the guest saw it, and CPU time of the tree.
    fn run_loop(&self, calls: u64) -> Fallible<(f64, f64)> {
        let (job, tail, check_per_call) = match &self.row.work {
            Work::Loop {
                job,
                tail,
                check_per_call,
            } => (job, tail.as_ref(), *check_per_call),
            Work::Floor { job } => (job, None, 1),
            Work::Program { .. } => return Err("not a loop".into()),
        };
        let mut job = job.clone();
        job.argv.push(calls.to_string().into());
        job.argv
            .extend(tail.map(|path| path.clone().into_os_string()));
        let outcome = self.run(&job)?;
        outcome.succeeded()?;
        let report = LoopReport::parse(&outcome)?;
        if report.calls != calls || report.check != calls * check_per_call {
            return Err(format!(
                "did {} calls with check {} instead of {calls}",
                report.calls, report.check
            )
            .into());
        }
        Ok((report.ns_per_call, outcome.cpu_ns))
    }

    /// Median wall time and mean CPU time of `repeat` runs.
    #[expect(clippy::cast_precision_loss, reason = "a handful of runs")]
    fn sample_program(&self, job: &Job, repeat: usize, proof: &Proof) -> Fallible<Sample> {
        let (mut walls, mut cpu_ns) = (Vec::new(), 0.0);
        for _ in 0..repeat {
            let outcome = self.run_program(job, proof)?;
            walls.push(outcome.wall_ns);
            cpu_ns += outcome.cpu_ns;
        }
        let wall_ns = stats::median(walls.into_iter()).ok_or("no runs")?;
        Ok(Sample {
            wall_ns,
            cpu_ns: cpu_ns / repeat as f64,
        })
    }

    fn run_program(&self, job: &Job, proof: &Proof) -> Fallible<Outcome> {
        make_room(proof)?;
        let outcome = self.run(job)?;
        outcome.succeeded()?;
        proof.holds(&outcome)?;
        Ok(outcome)
    }

    fn run(&self, job: &Job) -> Fallible<Outcome> {
        measure::run(
            self.lane.command(job, self.fixtures),
            &self.fixtures.scratch(),
        )
    }
}

/// Empties the directory that a build writes to.
pub(crate) fn make_room(proof: &Proof) -> Fallible<()> {
    if let Proof::Builds { directory, .. } = proof {
        if directory.exists() {
            fs::remove_dir_all(directory)?;
        }
        fs::create_dir(directory)?;
    }
    Ok(())
}

impl Proof {
    fn holds(&self, outcome: &Outcome) -> Fallible<()> {
        match self {
            Self::Status => Ok(()),
            Self::Prints(text) => expect_text(text, &outcome.stdout),
            Self::Lines(expected) => {
                let lines = outcome
                    .stdout
                    .split_inclusive(|byte| *byte == b'\n')
                    .count();
                let same = lines == *expected;
                if same {
                    Ok(())
                } else {
                    Err(format!("printed {lines} lines instead of {expected}").into())
                }
            }
            Self::Builds {
                program, prints, ..
            } => {
                let built = std::process::Command::new(program).output();
                let built =
                    built.map_err(|error| format!("the built program does not run: {error}"))?;
                expect_text(prints, &built.stdout)
            }
        }
    }
}

fn expect_text(expected: &str, got: &[u8]) -> Fallible<()> {
    if got == expected.as_bytes() {
        return Ok(());
    }
    let got: String = String::from_utf8_lossy(got).chars().take(80).collect();
    Err(format!("printed {got:?} instead of {expected:?}").into())
}

/// The line a loop guest prints.
struct LoopReport {
    ns_per_call: f64,
    calls: u64,
    check: u64,
}

impl LoopReport {
    fn parse(outcome: &Outcome) -> Fallible<Self> {
        let text = String::from_utf8_lossy(&outcome.stdout);
        let field = |name: &str| {
            let mut values = text
                .split_whitespace()
                .filter_map(|word| word.split_once('='));
            values
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_owned())
                .ok_or("no report line")
        };
        Ok(Self {
            ns_per_call: field("ns_per_call")?.parse()?,
            calls: field("calls")?.parse()?,
            check: field("check")?.parse()?,
        })
    }
}

/// Which number of a sample.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Figure {
    Wall,
    Cpu,
}

impl Figure {
    fn of(self, sample: Sample) -> f64 {
        match self {
            Self::Wall => sample.wall_ns,
            Self::Cpu => sample.cpu_ns,
        }
    }
}

impl Matrix {
    pub(crate) fn cell(&self, row: &str, kind: Kind) -> Option<&Cell> {
        let row = self
            .rows
            .iter()
            .position(|candidate| candidate.name == row)?;
        let lane = self
            .lanes
            .iter()
            .position(|candidate| candidate.kind == kind)?;
        self.cells.get(row)?.get(lane)
    }

    fn shows(&self, kind: Kind, figure: Figure) -> bool {
        figure == Figure::Wall
            || self
                .lanes
                .iter()
                .any(|lane| lane.kind == kind && lane.cpu_visible)
    }

    /// A figure by itself, in nanoseconds.
    pub(crate) fn value(&self, row: &str, kind: Kind, figure: Figure) -> Option<Summary> {
        if !self.shows(kind, figure) {
            return None;
        }
        stats::summarise(
            self.cell(row, kind)?
                .figures(figure)
                .flatten()
                .filter(|value| value.is_finite()),
        )
    }

    /// `combine(a, b)` over the rounds in which both cells have a figure.
    pub(crate) fn pairwise(
        &self,
        (row_a, kind_a): (&str, Kind),
        (row_b, kind_b): (&str, Kind),
        figure: Figure,
        combine: impl Fn(f64, f64) -> f64,
    ) -> Option<Summary> {
        if !self.shows(kind_a, figure) || !self.shows(kind_b, figure) {
            return None;
        }
        let a = self.cell(row_a, kind_a)?.figures(figure);
        let b = self.cell(row_b, kind_b)?.figures(figure);
        let pairs = a.zip(b).filter_map(|(a, b)| a.zip(b));
        stats::summarise(
            pairs
                .map(|(a, b)| combine(a, b))
                .filter(|value| value.is_finite()),
        )
    }

    /// `kind` against `other` in one row.
    pub(crate) fn ratio(
        &self,
        row: &str,
        kind: Kind,
        other: Kind,
        figure: Figure,
    ) -> Option<Summary> {
        self.pairwise((row, kind), (row, other), figure, |a, b| a / b)
    }

    /// Row, lane and reason of every cell that failed.
    pub(crate) fn troubles(&self) -> impl Iterator<Item = (&str, &'static str, &str)> {
        self.rows
            .iter()
            .zip(&self.cells)
            .flat_map(move |(row, cells)| {
                let pairs = self.lanes.iter().zip(cells);
                pairs.filter_map(|(lane, cell)| {
                    Some((row.name, lane.name(), cell.trouble.as_deref()?))
                })
            })
    }
}
