//! `sbox policy import`: the calls of somebody else's seccomp profile as a policy.

use super::enforce::{self, NEEDED};
use super::{PolicyFile, complain, param_of, words, world};
use crate::cli::exit::Exit;
use crate::cli::term::{self, Kind};
use crate::policy::foreign::{self, Format, Host, Translated, Weight};
use crate::policy::lang::Sheets;
use crate::policy::lang::predicate::Param;
use crate::syscall::args;
use crate::syscall::table::{Mechanism, by_name};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is imported.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A seccomp profile of Docker or the OCI (JSON, or a container's config.json), or a minijail .policy
    file: PathBuf,
    /// Its format, if it can't be told by what it begins with
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<FormatName>,
    /// Write the policy here, where nothing may be yet, and not to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum FormatName {
    Docker,
    Oci,
    Minijail,
}

/// Runs it.
pub(super) fn import(args: &Args) -> Exit {
    let fail = |path: &Path, why: String| {
        term::message(Kind::Error, &format!("{}: {why}", path.display()));
        Exit::Usage
    };
    let text = match fs::read_to_string(&args.file) {
        Ok(text) => text,
        Err(error) => return fail(&args.file, error.to_string()),
    };
    let format = match args.format {
        None => Format::detect(&text),
        Some(FormatName::Docker) => Format::Docker,
        Some(FormatName::Oci) => Format::Oci,
        Some(FormatName::Minijail) => Format::Minijail,
    };
    let includes = |path: &Path| fs::read_to_string(path).map_err(|error| error.to_string());
    let name = args.file.to_string_lossy();
    let translated = match read(&name, text, format, &includes, kernel()) {
        Ok(translated) => translated,
        Err(exit) => return exit,
    };
    let done = match &args.output {
        None => term::print(&translated.text),
        Some(path) => {
            let made = PolicyFile::find(path).and_then(|file| file.make(&translated.text));
            made.map_or_else(|error| fail(path, error.to_string()), |()| Exit::Ok)
        }
    };
    if done != Exit::Ok {
        return done;
    }
    tell(&translated)
}

/// Reads and translates; what is wrong has been told.
pub fn read(
    name: &str,
    text: String,
    format: Format,
    includes: foreign::Includes<'_>,
    kernel: (u64, u64),
) -> Result<Translated, Exit> {
    let words = words();
    let host = Host {
        words: &words,
        param,
        show: |call, at, value| args::show(by_name(call)?.params.get(at)?.ty, value),
        refuses,
        needed: &NEEDED,
        kernel,
        unfit: &unfit,
    };
    foreign::import(name, text, format, includes, &host)
        .map_err(|(faults, sources)| complain(&faults, &sources))
}

/// Tells how the policy differs from the profile.
fn tell(translated: &Translated) -> Exit {
    let mut heaviest = Weight::Note;
    for remark in &translated.remarks {
        heaviest = heaviest.min(remark.weight);
        let (kind, how) = match remark.weight {
            Weight::Wider => (Kind::Warning, "wider than the profile: "),
            Weight::Stricter => (Kind::Warning, ""),
            Weight::Note => (Kind::Note, ""),
        };
        let place = translated.sources.place(remark.at);
        term::message(kind, &format!("{place}: {how}{}", remark.what));
    }
    match heaviest {
        Weight::Wider => Exit::CannotEnforce,
        Weight::Stricter => Exit::Refused,
        Weight::Note => Exit::Ok,
    }
}

fn param(call: &str, at: usize) -> Result<(&'static str, Param), String> {
    let row = by_name(call).ok_or_else(|| format!("there is no call '{call}'"))?;
    let count = row.params.len();
    let param = row.params.get(at);
    let param = param.ok_or_else(|| format!("{call} has {count} arguments only"))?;
    Ok((param.name, param_of(call, param.name)?))
}

fn refuses(call: &str) -> Option<&'static str> {
    let row = by_name(call)?;
    matches!(row.mechanism, Mechanism::Refuse(_))
        .then(|| row.reason().unwrap_or("no program in a sandbox has it"))
}

/// Calls of a policy that nobody can enforce.
fn unfit(text: &str) -> Result<Vec<(String, String)>, String> {
    let none = |path: &Path| Err(format!("{} is not to be read", path.display()));
    let read = |path: &Path| match path == Path::new("imported.toml") {
        true => Ok(text.to_owned()),
        false => none(path),
    };
    let sheets = Sheets::load("imported.toml", &[], &world::world(&[]), &words(), &read);
    let sheets = sheets.map(Arc::new).map_err(|(faults, sources)| {
        let shown = faults.first().map(|fault| fault.show(&sources));
        shown.unwrap_or_default()
    })?;
    let call = |id| {
        let mut rules = sheets.all.iter().flat_map(|sheet| &sheet.calls.rules);
        rules
            .find(|rule| rule.id == id)
            .map(|rule| rule.key.clone())
    };
    let gaps = enforce::gaps(&sheets);
    Ok(gaps
        .into_iter()
        .filter_map(|gap| Some((call(gap.id)?, gap.why)))
        .collect())
}

/// The running kernel's version.
fn kernel() -> (u64, u64) {
    let release = nix::sys::utsname::uname().ok();
    let release = release.and_then(|name| name.release().to_str().map(str::to_owned));
    let mut parts = release.iter().flat_map(|text| text.split(['.', '-', '+']));
    let mut next = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
    (next(), next())
}
