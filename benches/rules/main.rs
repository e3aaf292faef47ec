//! What the number of rules about files costs: starting a program, and looking at a file, under ten rules and under
//! ten thousand of the same form.
//!
//! `cargo bench --bench rules [-- --rounds N] [-- --write-docs]`. Both policies of a form in turn, in a new random
//! order each round; differences and ratios are of one round. Reading guide: `docs/PERFORMANCE.md`.

#[path = "../boundary/measure.rs"]
#[allow(dead_code, reason = "the other benchmark uses more of it")]
mod measure;
mod policies;
#[path = "../boundary/stats.rs"]
#[allow(dead_code, reason = "the other benchmark uses more of it")]
mod stats;
#[path = "../boundary/text.rs"]
#[allow(dead_code, reason = "the other benchmark uses more of it")]
mod text;

use std::error::Error;
use std::process::ExitCode;

use policies::{FORMS, Form, Policies, Sizes};
use stats::{Dice, Summary, summarise};

/// Anything that stops a step; the reader gets the text.
pub(crate) type Fallible<T> = Result<T, Box<dyn Error>>;

const ROUNDS: usize = 15;
/// Starting may take so much longer with many rules, in nanoseconds.
const START_BAR: f64 = 20e6;
/// `stat` may cost so much more: not more than two runs of one policy differ by.
const STAT_BAR: f64 = 1.05;

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
            eprintln!("rules: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// What one round took, with few rules and with many, in nanoseconds.
#[derive(Clone, Copy, Default)]
struct Round {
    start: Sizes<f64>,
    cpu: Sizes<f64>,
    stat: Sizes<f64>,
}

fn bench(rounds: usize, write_docs: bool) -> Fallible<()> {
    let policies = Policies::build()?;
    let mut samples: Vec<Vec<Round>> = FORMS.iter().map(|_| Vec::new()).collect();
    let mut dice = Dice::new();
    // Round 0 warms up, and leaves nothing.
    for round in 0..=rounds {
        eprintln!("round {round} of {rounds}");
        for (form, samples) in FORMS.iter().zip(&mut samples) {
            let mut turn = [false, true];
            dice.shuffle(&mut turn);
            let mut one = Round::default();
            for many in turn {
                let (start, cpu) = policies.start(form, many)?;
                *one.start.of(many) = start;
                *one.cpu.of(many) = cpu;
                *one.stat.of(many) = policies.stat(form, many)?;
            }
            if round > 0 {
                samples.push(one);
            }
        }
    }
    let text = report(&samples, rounds);
    println!("{text}");
    match write_docs {
        true => text::write_docs("rules", &text),
        false => Ok(()),
    }
}

fn report(samples: &[Vec<Round>], rounds: usize) -> String {
    let head = [
        "rules",
        "start with 10",
        "with 10,000",
        "more",
        "more, CPU",
        "`stat` with 10",
        "with 10,000 ×",
    ];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    let mut bars = vec![
        ["row", "bar", "measured", "verdict"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (form, samples) in FORMS.iter().zip(samples) {
        let of = |figure: fn(&Round) -> f64| summarise(samples.iter().map(figure));
        let more = of(|round| round.start.many - round.start.few);
        let ratio = of(|round| round.stat.many / round.stat.few);
        let time = |summary: Option<Summary>| {
            summary.map_or_else(|| "–".into(), |s| text::duration(s.median))
        };
        lines.push(vec![
            form.name.to_owned(),
            time(of(|round| round.start.few)),
            time(of(|round| round.start.many)),
            time(more),
            time(of(|round| round.cpu.many - round.cpu.few)),
            time(of(|round| round.stat.few)),
            ratio.map_or_else(|| "–".into(), text::spread),
        ]);
        bars.extend(verdicts(form, more, ratio));
    }
    format!(
        "{rounds} rounds. Medians (quartiles).\n\n{}\n### Bars\n\n{}",
        text::table(&lines),
        text::table(&bars)
    )
}

fn verdicts(form: &Form, more: Option<Summary>, ratio: Option<Summary>) -> [Vec<String>; 2] {
    let verdict = |measured: Option<Summary>, bound: f64| match measured {
        None => "not measured",
        Some(summary) if summary.median <= bound => "met",
        Some(summary) if summary.quartiles.0 <= bound => "missed, within noise",
        Some(_) => "missed",
    };
    [
        vec![
            format!("start, {}", form.name),
            format!("at most {} more", text::duration(START_BAR)),
            more.map_or_else(|| "–".into(), |s| text::duration(s.median)),
            verdict(more, START_BAR).to_owned(),
        ],
        vec![
            format!("`stat`, {}", form.name),
            format!("≤ {STAT_BAR}× of 10 rules"),
            ratio.map_or_else(|| "–".into(), text::spread),
            verdict(ratio, STAT_BAR).to_owned(),
        ],
    ]
}
