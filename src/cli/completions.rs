//! `sbox completions`: lets a shell complete sbox's command line.

use clap_complete::Shell;

use super::exit::Exit;
use super::term;

/// Print the completions of a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sbox completions bash > ~/.local/share/bash-completion/completions/sbox
  sbox completions zsh > ~/.zfunc/_sbox      (a directory of your $fpath)
  sbox completions fish > ~/.config/fish/completions/sbox.fish")]
pub struct Args {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Runs the verb.
pub fn run(args: &Args) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "sbox", &mut script);
    term::print(&String::from_utf8_lossy(&script))
}
