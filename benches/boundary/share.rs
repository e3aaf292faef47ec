//! What the mechanism alone costs: for each program, the calls that reach the supervisor, times the bare
//! notification round trip. A supervisor that did nothing at all for a call could not be faster than that.

use crate::Fallible;
use crate::engine::{self, Figure, Matrix};
use crate::fixtures::Fixtures;
use crate::lanes::{Kind, Lane};
use crate::measure;
use crate::rows::{Row, Work};

/// A program's crossings.
pub(crate) struct Share {
    pub(crate) row: &'static str,
    pub(crate) crossings: Result<Crossings, String>,
}

/// As `sbox run --stats` counts them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crossings {
    pub(crate) notified: u64,
    pub(crate) stops: u64,
}

pub(crate) fn all(fixtures: &Fixtures, matrix: &Matrix) -> Vec<Share> {
    let Some(lane) = matrix.lanes.iter().find(|lane| lane.kind == Kind::Sbox) else {
        return Vec::new();
    };
    let programs = matrix
        .rows
        .iter()
        .filter(|row| matches!(row.work, Work::Program { .. }));
    programs
        .map(|row| Share {
            row: row.name,
            crossings: count(fixtures, lane, row).map_err(|why| why.to_string()),
        })
        .collect()
}

fn count(fixtures: &Fixtures, lane: &Lane, row: &Row) -> Fallible<Crossings> {
    let Work::Program { job, proof, .. } = &row.work else {
        return Err("not a program".into());
    };
    engine::make_room(proof)?;
    let command = lane.counting(job, fixtures);
    let outcome = measure::run(command, &fixtures.scratch())?;
    outcome.succeeded()?;
    let text = String::from_utf8_lossy(&outcome.stderr).into_owned();
    let number = |what: &str| -> Fallible<u64> {
        let line = text.lines().find(|line| line.contains(what));
        let word = line.and_then(|line| line.split_whitespace().next());
        Ok(word.ok_or("no statistics")?.parse()?)
    };
    Ok(Crossings {
        notified: number("calls notified")?,
        stops: number("stops traced")?,
    })
}

impl Crossings {
    /// Native CPU time plus a bare round trip for each notification, over native.
    #[expect(clippy::cast_precision_loss, reason = "counts of one run")]
    pub(crate) fn floor(self, matrix: &Matrix, row: &str) -> Option<f64> {
        let native = matrix.value(row, Kind::Native, Figure::Cpu)?.median;
        let trip = matrix.value("floor", Kind::Native, Figure::Cpu)?.median;
        Some(1.0 + self.notified as f64 * trip / native)
    }
}
