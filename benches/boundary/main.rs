//! What crossing the sandbox boundary costs: native, `sbox` and its peers, measured side by side in one run.
//!
//! `cargo bench` runs everything; options follow `--` (see [`options::USAGE`]). Method and reading guide:
//! `docs/PERFORMANCE.md`.

mod bars;
mod engine;
mod fixtures;
mod lanes;
mod measure;
mod memory;
mod options;
mod report;
mod rows;
mod share;
mod stats;
mod text;

use std::error::Error;
use std::process::ExitCode;

/// Anything that stops a step; the reader gets the text.
pub(crate) type Fallible<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let outcome = options::parse(std::env::args().skip(1)).and_then(|mode| match mode {
        options::Mode::Help => {
            println!("{}", options::USAGE);
            Ok(())
        }
        options::Mode::List => {
            rows::ROW_NAMES
                .iter()
                .for_each(|name| println!("{name}: benchmark"));
            Ok(())
        }
        options::Mode::Smoke => smoke(),
        options::Mode::Bench(options) => bench(&options),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("boundary: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// The full measurement.
fn bench(options: &options::Options) -> Fallible<()> {
    let clock = report::MachineClock::start();
    let fixtures = fixtures::Fixtures::build(|row| options.wants(row))?;
    let (lanes, missing) = lanes::find(&fixtures, options.peers)?;
    missing
        .iter()
        .for_each(|(name, why)| eprintln!("missing: {name}: {why}"));
    let rows = rows::all(&fixtures)
        .into_iter()
        .filter(|row| options.wants(row.name))
        .collect();
    let matrix = engine::run(&fixtures, lanes, rows, options.rounds);
    let memory = memory::all(&fixtures, &matrix.lanes, |row| options.wants(row));
    let shares = share::all(&fixtures, &matrix);
    let report = report::Report {
        matrix,
        shares,
        memory,
        missing,
        machine: clock.stop(),
    };
    report.publish(options.write_docs)
}

/// One iteration of the cheap rows on whatever works, so that `cargo test --benches` notices rot.
fn smoke() -> Fallible<()> {
    let cheap = |row: &str| rows::SMOKE_ROWS.contains(&row);
    if !fixtures::can_compile() {
        println!("smoke run skipped: no C compiler that links static programs");
        return Ok(());
    }
    let fixtures = fixtures::Fixtures::build(cheap)?;
    let (lanes, missing) = lanes::find(&fixtures, false)?;
    missing
        .iter()
        .for_each(|(name, why)| println!("missing: {name}: {why}"));
    let rows = rows::all(&fixtures)
        .into_iter()
        .filter(|row| cheap(row.name))
        .collect();
    let matrix = engine::run(&fixtures, lanes, rows, 1);
    for (row, lane, why) in matrix.troubles() {
        println!("{row}: {lane}: {why}");
    }
    println!(
        "smoke run finished: {} rows, {} lanes",
        matrix.rows.len(),
        matrix.lanes.len()
    );
    Ok(())
}
