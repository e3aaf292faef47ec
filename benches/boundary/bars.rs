//! What `sbox` means to reach. Every bar is printed as met or missed; none is asserted.

use crate::engine::{Figure, Matrix};
use crate::lanes::Kind;
use crate::memory::Memory;
use crate::report::Report;
use crate::stats::Summary;
use crate::text::spread;

#[derive(Clone, Copy)]
enum Measure {
    /// `sbox` over native, pairwise.
    Ratio(Figure),
    /// `sbox`'s time over that of the bare notification round trip.
    TimesFloor,
    /// Wall time over native, in milliseconds.
    AddedMs,
    /// Peak memory of the supervisor, in MiB.
    PeakMib,
}

const WALL: Measure = Measure::Ratio(Figure::Wall);
const CPU: Measure = Measure::Ratio(Figure::Cpu);

/// Row, figure, bound: the whole list.
const BOUNDS: [(&str, Measure, f64); 20] = [
    ("getuid", WALL, 1.3),
    ("read-4k", WALL, 1.02),
    ("stat", Measure::TimesFloor, 2.0),
    ("open-close", Measure::TimesFloor, 2.3),
    ("spawn-static", WALL, 1.6),
    ("spawn-dynamic", WALL, 2.0),
    ("thread", WALL, 3.0),
    ("make", WALL, 1.25),
    ("make", CPU, 1.25),
    ("cargo-build", WALL, 1.10),
    ("cargo-build", CPU, 1.10),
    ("python", WALL, 1.3),
    ("python", CPU, 1.3),
    ("git-status", WALL, 4.5),
    ("git-status", CPU, 4.5),
    ("pipe", WALL, 1.03),
    ("pipe", CPU, 1.03),
    ("start-up", Measure::AddedMs, 1.5),
    ("memory-1", Measure::PeakMib, 10.0),
    ("memory-1000", Measure::PeakMib, 30.0),
];

/// Peers that have to be slower than `sbox`, in one row or (`None`) in every row both can run.
const RIVALS: [(Kind, Option<&str>); 3] = [
    (Kind::Bwrap, Some("start-up")),
    (Kind::Proot, None),
    (Kind::Sandlock, None),
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    /// By the median, but the bound lies between the quartiles.
    JustMet,
    JustMissed,
    NotMeasured,
}

impl Verdict {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::JustMet => "met, within noise",
            Self::JustMissed => "missed, within noise",
            Self::NotMeasured => "not measured",
        }
    }

    fn of(measured: Option<Summary>, bound: f64) -> Self {
        let Some(Summary {
            median,
            quartiles: (low, high),
            ..
        }) = measured
        else {
            return Self::NotMeasured;
        };
        match (median <= bound, low <= bound && bound < high) {
            (true, false) => Self::Met,
            (true, true) => Self::JustMet,
            (false, true) => Self::JustMissed,
            (false, false) => Self::Missed,
        }
    }
}

pub(crate) struct Judged {
    pub(crate) row: String,
    pub(crate) bar: String,
    pub(crate) measured: String,
    pub(crate) verdict: Verdict,
}

impl Measure {
    fn text(self, bound: f64) -> String {
        match self {
            Self::Ratio(Figure::Wall) => format!("wall ≤ {bound}× native"),
            Self::Ratio(Figure::Cpu) => format!("CPU ≤ {bound}× native"),
            Self::TimesFloor => format!("≤ {bound}× bare round trip"),
            Self::AddedMs => format!("adds ≤ {bound} ms wall"),
            Self::PeakMib => format!("supervisor ≤ {bound} MiB"),
        }
    }

    fn of(self, row: &str, report: &Report) -> Option<Summary> {
        let matrix = &report.matrix;
        match self {
            Self::Ratio(figure) => matrix.ratio(row, Kind::Sbox, Kind::Native, figure),
            Self::TimesFloor => times_floor(matrix, row),
            Self::AddedMs => {
                let (sbox, native) = ((row, Kind::Sbox), (row, Kind::Native));
                matrix.pairwise(sbox, native, Figure::Wall, |sbox, native| {
                    (sbox - native) / 1e6
                })
            }
            Self::PeakMib => peak_mib(&report.memory, row),
        }
    }
}

/// `sbox`'s wall time per call over the bare round trip of the same round.
pub(crate) fn times_floor(matrix: &Matrix, row: &str) -> Option<Summary> {
    matrix.pairwise(
        (row, Kind::Sbox),
        ("floor", Kind::Native),
        Figure::Wall,
        |call, floor| call / floor,
    )
}

#[expect(clippy::cast_precision_loss, reason = "KiB of resident memory")]
fn peak_mib(memory: &[Memory], row: &str) -> Option<Summary> {
    let sbox = memory
        .iter()
        .find(|memory| memory.row == row && memory.kind == Kind::Sbox)?;
    let peak = sbox.outcome.as_ref().ok()?.peak_kib as f64 / 1024.0;
    Some(Summary::single(peak))
}

/// All bars, judged by medians.
pub(crate) fn judge(report: &Report) -> Vec<Judged> {
    let bounds = BOUNDS.into_iter().map(|(row, measure, bound)| {
        let measured = measure.of(row, report);
        Judged {
            row: row.to_owned(),
            bar: measure.text(bound),
            measured: measured.map_or_else(|| "–".to_owned(), spread),
            verdict: Verdict::of(measured, bound),
        }
    });
    bounds
        .chain(
            RIVALS
                .into_iter()
                .map(|(rival, row)| judge_rival(report, rival, row)),
        )
        .collect()
}

/// Met if `sbox` takes less wall time than the rival; of several rows the closest counts.
fn judge_rival(report: &Report, rival: Kind, only: Option<&str>) -> Judged {
    let rows = report
        .matrix
        .rows
        .iter()
        .map(|row| row.name)
        .filter(|row| only.is_none_or(|name| name == *row));
    let ratios = rows.filter_map(|row| {
        Some((
            row,
            report.matrix.ratio(row, Kind::Sbox, rival, Figure::Wall)?,
        ))
    });
    let closest = ratios.max_by(|(_, a), (_, b)| a.median.total_cmp(&b.median));
    let scope = only.map_or_else(|| "every row".to_owned(), str::to_owned);
    Judged {
        row: scope,
        bar: format!("wall < {}", rival.name()),
        measured: closest.map_or_else(
            || "–".to_owned(),
            |(row, ratio)| format!("{} in {row}", spread(ratio)),
        ),
        verdict: Verdict::of(closest.map(|(_, ratio)| ratio), 1.0),
    }
}
