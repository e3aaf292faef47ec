//! `sbox policy export`: the calls of a policy as somebody else's seccomp profile.

use super::enforce::{self, NEEDED};
use super::{PolicyFile, Which};
use crate::cli::exit::Exit;
use crate::cli::term::{self, Kind};
use crate::policy::foreign::export::{Answer, Arg, Exported};
use crate::policy::lang::{Gap, Network, Sheets};
use crate::supervisor::calls::{Refused, Verdict};
use crate::syscall::table::{Mechanism, TABLE};
use std::path::PathBuf;
use std::sync::Arc;

/// What is exported.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    of: Which,
    /// As JSON of the OCI's runtime-spec, for docker run --security-opt seccomp=FILE
    #[arg(long, required = true)]
    oci: bool,
    /// Write the profile here, where nothing may be yet, and not to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Entries for one call; each becomes some instructions of a filter, of which the kernel takes 4096.
const MOST: usize = 256;

/// Runs it.
pub(super) fn export(args: &Args) -> Result<Exit, Exit> {
    let mut sheets = args.of.load()?;
    // [net] is no part of it, also where it asks or kills by a call.
    for sheet in &mut sheets.all {
        sheet.net = Network::NONE;
    }
    let sheets = Arc::new(sheets);
    enforceable(&sheets)?;
    let text = profile(&sheets).map_err(|why| {
        term::message(Kind::Error, &why);
        Exit::CannotEnforce
    })?;
    let done = match &args.output {
        None => term::print(&text),
        Some(path) => {
            let made = PolicyFile::find(path).and_then(|file| file.make(&text));
            made.map_or_else(
                |error| {
                    term::message(Kind::Error, &format!("{}: {error}", path.display()));
                    Exit::Usage
                },
                |()| Exit::Ok,
            )
        }
    };
    if done == Exit::Ok {
        let told = "only calls are in a profile: [files], [net], [env] and the rest of the policy are not in it";
        term::message(Kind::Note, told);
    }
    Ok(done)
}

/// The profile; or which rule can't be said in one, and why.
pub fn profile(sheets: &Sheets) -> Result<String, String> {
    let refused = enforce::refused(sheets);
    let mut exported = Exported::default();
    for row in TABLE {
        let Some(one) = refused.iter().find(|one| one.nr == row.x86) else {
            let answer = match row.mechanism {
                Mechanism::Refuse(errno) if !NEEDED.contains(&row.name) => Answer::Errno(errno),
                _ => Answer::Allow,
            };
            exported.add(row.name, Vec::new(), answer);
            continue;
        };
        if one.is_special() {
            let rules: Vec<&str> = one.rules().collect();
            return Err(format!(
                "can't export {}\n  because: a profile can neither ask nor fake",
                rules.join(", ")
            ));
        }
        let regions = one.regions(MOST).ok_or_else(|| too_many(row.name, one))?;
        for (region, verdict) in regions {
            let args = region.masked();
            let args = args.map(|(arg, mask, value)| Arg::masked(arg, mask, value));
            let answer = match verdict {
                None => Answer::Allow,
                Some(Verdict::Deny(errno)) => Answer::Errno(errno),
                // Asked and faked is nothing here, see above.
                Some(Verdict::Kill | Verdict::Ask | Verdict::Fake(_)) => Answer::Kill,
            };
            exported.add(row.name, args.collect(), answer);
        }
    }
    exported.text().map_err(|error| error.to_string())
}

fn too_many(call: &str, refused: &Refused) -> String {
    let rules: Vec<&str> = refused.rules().collect();
    format!(
        "can't export {}\n  because: a profile has tests that must all hold, and no others: the conditions of {call} come to more \
         than {MOST} entries\n  hint: compare fewer arguments with numbers in one condition",
        rules.join(", ")
    )
}

/// What nobody enforces is no part of a profile either.
fn enforceable(sheets: &Arc<Sheets>) -> Result<(), Exit> {
    let all = enforce::gaps(sheets).into_iter();
    enforce::tell_gaps(
        sheets,
        &all.filter(|gap| about_calls(sheets, gap))
            .collect::<Vec<_>>(),
    )
    .map(|_| ())
}

fn about_calls(sheets: &Sheets, gap: &Gap) -> bool {
    let mut rules = sheets.all.iter().flat_map(|sheet| &sheet.calls.rules);
    // The default for calls is a key of [default].
    let default = sheets.rule(gap.id).is_some_and(|rule| {
        let source = sheets.sources.0.get(rule.at.file as usize);
        let key = rule.at.start as usize..rule.at.end as usize;
        let key = source.and_then(|source| source.text.get(key));
        key.is_some_and(|key| key.trim_matches(['"', '\'']).ends_with("syscalls"))
    });
    default || rules.any(|rule| rule.id == gap.id)
}
