//! What copy-on-write costs: the same work natively, on a writable bind mount, and on copy-on-write mounts.
//!
//! `cargo bench --bench mounts [-- --rounds N] [-- --write-docs]`. One lane after the other, in a new random order each
//! round; ratios are of one round. Method and reading guide: `docs/PERFORMANCE.md`.

#[path = "../boundary/measure.rs"]
#[allow(dead_code, reason = "the other benchmark uses more of it")]
mod measure;
mod rows;
#[path = "../boundary/stats.rs"]
#[allow(dead_code, reason = "the other benchmark uses more of it")]
mod stats;
#[path = "../boundary/text.rs"]
#[allow(dead_code, reason = "the other benchmark uses more of it")]
mod text;
mod trees;

use std::error::Error;
use std::process::ExitCode;

use rows::{Lane, Row};
use stats::{Dice, Summary, summarise};
use trees::Trees;

/// Anything that stops a step; the reader gets the text.
pub(crate) type Fallible<T> = Result<T, Box<dyn Error>>;

const ROUNDS: usize = 7;

/// The bound of one lane over another in a row.
struct Bar {
    row: &'static str,
    lane: Lane,
    over: Lane,
    bound: f64,
}

const BARS: [Bar; 7] = [
    bar("stat", Lane::Cow, Lane::Bind, 1.15),
    bar("open+close", Lane::Cow, Lane::Bind, 1.15),
    bar("getdents of 100", Lane::Cow, Lane::Bind, 1.15),
    bar("unpack and build, CPU", Lane::Cow, Lane::Bind, 1.15),
    bar("list 10,000, half copied", Lane::Cow, Lane::Native, 3.0),
    bar("list 100,000, half copied", Lane::Cow, Lane::Native, 3.0),
    bar("copy up 1 GiB", Lane::Cow, Lane::Native, 1.2),
];

const fn bar(row: &'static str, lane: Lane, over: Lane, bound: f64) -> Bar {
    Bar {
        row,
        lane,
        over,
        bound,
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // `cargo test --benches` passes no --bench: the other benchmark smokes the harness.
    if !has("--bench") {
        return ExitCode::SUCCESS;
    }
    let rounds = arguments
        .iter()
        .skip_while(|argument| *argument != "--rounds")
        .nth(1)
        .map_or(Ok(ROUNDS), |number| number.parse());
    let outcome = rounds
        .map_err(|_| "--rounds needs a number".into())
        .and_then(|rounds| bench(rounds, has("--write-docs")));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("mounts: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// By row and lane: what each round took, in nanoseconds.
type Samples = Vec<Vec<Vec<f64>>>;

fn bench(rounds: usize, write_docs: bool) -> Fallible<()> {
    let trees = Trees::build()?;
    let rows = rows::all(&trees)?;
    let mut samples: Samples = rows
        .iter()
        .map(|row| vec![vec![]; row.lanes.len()])
        .collect();
    let mut dice = Dice::new();
    // Round 0 warms up, and leaves nothing.
    for round in 0..=rounds {
        for (row, samples) in rows.iter().zip(&mut samples) {
            eprintln!("round {round} of {rounds}: {}", row.name);
            let mut turn: Vec<_> = row.lanes.iter().zip(samples).collect();
            dice.shuffle(&mut turn);
            for ((lane, work), samples) in turn {
                let took = work
                    .run(&trees)
                    .map_err(|why| format!("{}, {}: {why}", row.name, lane.name()))?;
                if round > 0 {
                    samples.push(took);
                }
            }
        }
    }
    let text = report(&rows, &samples, rounds);
    println!("{text}");
    match write_docs {
        true => text::write_docs("mounts", &text),
        false => Ok(()),
    }
}

fn of<'s>(row: &Row, samples: &'s [Vec<f64>], lane: Lane) -> Option<&'s Vec<f64>> {
    let place = row.lanes.iter().position(|(other, _)| *other == lane)?;
    samples.get(place)
}

fn ratio(row: &Row, samples: &[Vec<f64>], lane: Lane, over: Lane) -> Option<Summary> {
    let (a, b) = (of(row, samples, lane)?, of(row, samples, over)?);
    summarise(a.iter().zip(b).map(|(a, b)| a / b))
}

fn report(rows: &[Row], samples: &Samples, rounds: usize) -> String {
    let head = ["row", "native"].into_iter().map(str::to_owned);
    let lanes = [Lane::Bind, Lane::Cow, Lane::Full, Lane::Five];
    let mut lines = vec![
        head.chain(lanes.iter().map(|lane| format!("{} ×", lane.name())))
            .collect::<Vec<_>>(),
    ];
    for (row, samples) in rows.iter().zip(samples) {
        let native = of(row, samples, Lane::Native).and_then(|s| summarise(s.iter().copied()));
        let mut line = vec![
            row.name.to_owned(),
            native.map_or_else(String::new, |s| text::duration(s.median)),
        ];
        line.extend(lanes.iter().map(|lane| {
            ratio(row, samples, *lane, Lane::Native).map_or_else(|| "–".into(), text::spread)
        }));
        lines.push(line);
    }
    let mut bars = vec![
        ["row", "bar", "measured", "verdict"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for bar in &BARS {
        let found = rows
            .iter()
            .zip(samples)
            .find(|(row, _)| row.name == bar.row);
        let measured = found.and_then(|(row, samples)| ratio(row, samples, bar.lane, bar.over));
        let verdict = match measured {
            None => "not measured",
            Some(summary) if summary.median <= bar.bound => "met",
            Some(summary) if summary.quartiles.0 <= bar.bound => "missed, within noise",
            Some(_) => "missed",
        };
        bars.push(vec![
            bar.row.to_owned(),
            format!("{} ≤ {}× {}", bar.lane.name(), bar.bound, bar.over.name()),
            measured.map_or_else(|| "–".into(), text::spread),
            verdict.to_owned(),
        ]);
    }
    format!(
        "{rounds} rounds. Multiples of native: median (quartiles).\n\n{}\n### Bars\n\n{}",
        text::table(&lines),
        text::table(&bars)
    )
}
