//! `sbox man`: the manual, made from the definition of the command line.

use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::exit::Exit;
use super::term::{self, Kind};

/// Print a page of the manual, for man(1) to format.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sbox man | man -l -           read about sbox
  sbox man doctor | man -l -    read about a verb")]
pub struct Args {
    /// A verb; without it, the page of sbox itself.
    #[arg(value_name = "VERB")]
    verb: Option<String>,
    /// Write all pages into this directory.
    #[arg(long, hide = true, value_name = "DIR", conflicts_with = "verb")]
    all: Option<PathBuf>,
}

/// Runs the verb.
pub fn run(args: &Args) -> Exit {
    let pages = match pages() {
        Ok(pages) => pages,
        Err(error) => return failed("man", &error),
    };
    if let Some(dir) = &args.all {
        return match write(dir, &pages) {
            Ok(()) => Exit::Ok,
            Err(error) => failed(&dir.display().to_string(), &error),
        };
    }
    let wanted = args.verb.as_deref();
    match pages.iter().find(|page| page.verb.as_deref() == wanted) {
        Some(page) => term::print(&page.text),
        None => super::unknown_verb(wanted.unwrap_or_default()),
    }
}

fn failed(what: &str, error: &io::Error) -> Exit {
    term::message(Kind::Error, &format!("{what}: {error}"));
    Exit::Internal
}

fn write(dir: &Path, pages: &[Page]) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    pages
        .iter()
        .try_for_each(|page| std::fs::write(dir.join(page.file_name()), &page.text))
}

/// A page of the manual.
#[derive(Debug)]
pub struct Page {
    /// The verb, or none for the page of sbox itself.
    pub verb: Option<String>,
    /// The page in the language of troff(1), macros of man(7).
    pub text: String,
}

impl Page {
    /// The file that man(1) looks for.
    pub fn file_name(&self) -> String {
        match &self.verb {
            Some(verb) => format!("sbox-{verb}.1"),
            None => "sbox.1".to_owned(),
        }
    }
}

/// All pages: of sbox, and of each verb that isn't hidden.
pub fn pages() -> io::Result<Vec<Page>> {
    // clap's own `help` would come in by building, and needs no page.
    let mut sbox = super::command().disable_help_subcommand(true);
    sbox.build();
    let verbs: Vec<&Command> = sbox
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set())
        .collect();
    let mut pages = vec![Page {
        verb: None,
        text: page(&sbox, &verbs)?,
    }];
    for verb in &verbs {
        pages.push(Page {
            verb: Some(verb.get_name().to_owned()),
            text: page(verb, &[])?,
        });
    }
    Ok(pages)
}

/// A page; that of sbox itself lists the verbs.
fn page(command: &Command, verbs: &[&Command]) -> io::Result<String> {
    let man = Man::new(command.clone())
        .source(concat!("sbox ", env!("CARGO_PKG_VERSION")))
        .manual("sbox manual");
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    let mut roff = Roff::new();
    if !verbs.is_empty() {
        roff.control("SH", ["VERBS"]);
        for verb in verbs {
            roff.control("TP", []);
            roff.text([bold(format!("sbox-{}", verb.get_name())), roman("(1)")]);
            roff.text([roman(
                verb.get_about()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            )]);
        }
    }
    for help in [command.get_before_help(), command.get_after_help()]
        .into_iter()
        .flatten()
    {
        as_it_is(&mut roff, &help.to_string());
    }
    if !verbs.is_empty() {
        exit_status(&mut roff);
    }
    roff.control("SH", ["SEE ALSO"]);
    if verbs.is_empty() {
        roff.text([
            bold("sbox"),
            roman("(1), which also lists the exit statuses"),
        ]);
    } else {
        roff.text([
            bold("seccomp_unotify"),
            roman("(2), "),
            bold("ptrace"),
            roman("(2)"),
        ]);
    }
    roff.to_writer(&mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// A text of our help, line by line. One that starts with a title (`Examples:`) is a section of that name.
fn as_it_is(roff: &mut Roff, text: &str) {
    let (title, body) = match text.split_once(":\n") {
        Some((title, body)) if !title.contains(char::is_whitespace) => (title, body),
        _ => ("Notes", text),
    };
    roff.control("SH", [title.to_uppercase().as_str()]);
    roff.control("nf", []);
    for line in body.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

/// The section about exit statuses.
fn exit_status(roff: &mut Roff) {
    roff.control("SH", ["EXIT STATUS"]);
    for (exit, meaning) in Exit::FIXED {
        roff.control("TP", []);
        roff.text([bold(exit.code().to_string())]);
        roff.text([roman(meaning)]);
    }
    roff.control("PP", []);
    roff.text([roman(
        "A program in the sandbox that ends passes its own status on; if a signal kills it, sbox dies of the same.",
    )]);
}
