//! `sbox policy`: looks at policies without running anything.

pub mod enforce;
mod explain;
pub mod export;
mod file;
pub mod import;
mod look;
pub mod switch;
pub mod world;

pub(super) use file::{PolicyFile, shown};

use super::exit::Exit;
use super::term::{self, Kind};
use crate::policy::lang::predicate::Param;
use crate::policy::lang::{Fault, Sheets, Sources, Switching, Words, schema, tidy};
use crate::policy::within::Within;
use crate::sys;
use std::fs;
use std::path::PathBuf;

/// Check, explain, show, format, compare, import and export policies
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sbox policy check grader.toml
  sbox policy explain grader.toml \"write /etc/hosts\"
  sbox policy show --flat std/python
  sbox policy diff old.toml new.toml

Exit status: 0 done; 1 the policies differ (diff), or the file is not in its canonical form (fmt --check);
2 a policy makes no sense; 3 a rule can't be enforced here.")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
enum Verb {
    /// Find errors, overlaps, rules that never decide, and rules that can't be enforced
    Check {
        #[command(flatten)]
        of: Which,
    },
    /// Tell which rules match an operation, who beats whom, and the answer
    Explain {
        #[command(flatten)]
        of: Which,
        /// read, write, create, delete, exec, meta, stat or list, and a path of the view; behind exec and a path, arguments
        #[arg(required = true, value_name = "\"OPERATION PATH\"")]
        operations: Vec<String>,
        /// As for a program that was started so: within the policy that [exec] says; several, one started by the other
        #[arg(long, value_name = "PROGRAM")]
        after: Vec<String>,
    },
    /// Print a policy
    Show {
        #[command(flatten)]
        of: Which,
        /// With all that it extends, variables expanded, and where each rule comes from
        #[arg(long)]
        flat: bool,
    },
    /// Rewrite a policy in its canonical form; comments are kept
    Fmt {
        /// The policy
        file: PathBuf,
        /// Only tell whether it would change
        #[arg(long)]
        check: bool,
    },
    /// Tell what a second policy allows that the first does not, and the other way round
    Diff {
        /// A file, or std/NAME
        before: String,
        /// The same
        after: String,
        /// Give a value to a variable that both declare
        #[arg(long = "set", value_name = "NAME=VALUE", value_parser = world::parse_set)]
        set: Vec<(String, String)>,
    },
    /// Make a policy of the calls of a seccomp profile: Docker's, the OCI's, minijail's
    #[command(after_help = "\
Exit status: 0 the policy decides about calls as the profile does; 1 it is stricter somewhere, or not quite the same;
2 the profile makes no sense; 3 something that the profile refuses stays allowed, as sbox itself needs it. Each difference is
a warning, and a comment in the policy, which is written in all cases but 2.")]
    Import(import::Args),
    /// Write the calls of a policy as a seccomp profile of the OCI, for Docker and other runtimes
    #[command(after_help = "\
Only calls are in a profile: files, network and environment of the policy are not.

Exit status: 0 the profile decides about calls as [syscalls] does; 2 the policy makes no sense, or can't be read; 3 a rule can't be
said in a profile, or can't be enforced. In the cases of 2 and 3 nothing is written.")]
    Export(export::Args),
    /// Print the JSON Schema of the language, for editors
    Schema,
}

/// A policy and what it is read with.
#[derive(clap::Args, Debug, Clone)]
pub struct Which {
    /// A file, or std/NAME
    #[arg(value_name = "POLICY")]
    pub policy: String,
    /// A ceiling: what it doesn't allow is not allowed
    #[arg(long, value_name = "FILE")]
    pub within: Vec<String>,
    /// Give a value to a variable that the policy declares
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = world::parse_set)]
    pub set: Vec<(String, String)>,
}

impl Which {
    /// Reads it. What is wrong has been told.
    pub fn load(&self) -> Result<Sheets, Exit> {
        sheets(&self.switching()?, Within::NONE)
    }

    /// Reads it with all that it may switch to. What is wrong has been told.
    pub fn switching(&self) -> Result<Switching, Exit> {
        /// So long a text, and longer ones, have thousands of rules.
        const LONG: usize = 128 << 10;
        /// What is made of each byte, about.
        const TAKES: usize = 20;
        sys::heap::keep();
        let read = |path: &std::path::Path| {
            let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
            if text.len() >= LONG {
                sys::heap::expect((text.len() * TAKES).min(sys::heap::KEPT / 2));
            }
            Ok(text)
        };
        let world = world::world(&self.set);
        Switching::load(&self.policy, &self.within, world, words(), &read)
            .map_err(|(faults, sources)| complain(&faults, &sources))
    }
}

/// Names that policies may use.
pub fn words() -> Words {
    use crate::supervisor::view::check_hostname;
    use crate::syscall::table::{Class, TABLE};
    Words {
        calls: TABLE.iter().map(|row| row.name).collect(),
        groups: Class::ALL.iter().map(|class| class.group()).collect(),
        param: Some(param_of),
        constant: Some(crate::syscall::flags::value),
        hostname: Some(|name| check_hostname(name).is_ok()),
    }
}

/// A parameter of a call, as conditions know it.
fn param_of(call: &str, name: &str) -> Result<Param, String> {
    use crate::syscall::{args, table};
    let row = table::by_name(call).ok_or_else(|| format!("there is no call '{call}'"))?;
    let names: Vec<&str> = row.params.iter().map(|param| param.name).collect();
    let at = names.iter().position(|known| *known == name);
    let Some((at, param)) = at.and_then(|at| Some((at, row.params.get(at)?))) else {
        return Err(match names[..] {
            [] => format!("{call} has no arguments"),
            _ => format!(
                "'{name}' is no argument of {call}: known: {}",
                names.join(", ")
            ),
        });
    };
    if param.ty == "Pid" {
        return Err(format!(
            "'{name}' is the number of a process, which is one in the view and another to the kernel: the filter sees both"
        ));
    }
    // What is behind an address can change after the look.
    let address = ["Ptr", "OutBuf", "InBuf", "ResolveHow"].contains(&param.ty);
    match args::width(param.ty).filter(|_| !address) {
        Some((bits, signed)) => Ok(Param {
            arg: u8::try_from(at).map_err(|e| e.to_string())?,
            bits,
            signed,
        }),
        None => Err(format!(
            "'{name}' is an address or no plain number, and what is there can change after the look: [files] and [net] are \
             about what it names"
        )),
    }
}

/// What holds within policies that are switched to. What is wrong has been told.
fn sheets(switching: &Switching, within: Within) -> Result<Sheets, Exit> {
    let sheets = switching.sheets(within);
    sheets.map_err(|(faults, sources)| complain(&faults, &sources))
}

/// Tells what is wrong.
fn complain(faults: &[Fault], sources: &Sources) -> Exit {
    for fault in faults {
        term::message(Kind::Error, &fault.show(sources));
    }
    Exit::Usage
}

/// Runs the verb.
pub fn run(args: &Args) -> Exit {
    let done = match &args.verb {
        Verb::Check { of } => of.switching().and_then(|of| look::check(&of)),
        Verb::Explain {
            of,
            operations,
            after,
        } => explain::after(of, after)
            .map(|sheets| explain::explain(&std::sync::Arc::new(sheets), operations)),
        Verb::Show { of, flat } => of.load().map(|sheets| look::show(&sheets, *flat)),
        Verb::Fmt { file, check } => Ok(format(file, *check)),
        Verb::Diff { before, after, set } => {
            let which = |policy: &String| Which {
                policy: policy.clone(),
                within: Vec::new(),
                set: set.clone(),
            };
            which(before)
                .load()
                .and_then(|a| Ok(look::diff(&a, &which(after).load()?)))
        }
        Verb::Import(args) => Ok(import::import(args)),
        Verb::Export(args) => export::export(args),
        Verb::Schema => Ok(term::print(&schema())),
    };
    done.unwrap_or_else(|exit| exit)
}

fn format(file: &std::path::Path, check: bool) -> Exit {
    let fail = |why: String| {
        term::message(Kind::Error, &format!("{}: {why}", file.display()));
        Exit::Usage
    };
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return fail(error.to_string()),
    };
    let tidied = match tidy(&text) {
        Ok(tidied) => tidied,
        Err(error) => return fail(error.to_string()),
    };
    if tidied == text {
        return Exit::Ok;
    }
    if check {
        term::message(
            Kind::Error,
            &format!(
                "{} is not in its canonical form\n  hint: sbox policy fmt rewrites it",
                file.display()
            ),
        );
        return Exit::Refused;
    }
    let replaced = PolicyFile::find(file).and_then(|file| file.replace(&tidied));
    replaced.map_or_else(|error| fail(error.to_string()), |()| Exit::Ok)
}
