//! What is told of a run: refusals on standard error and in a report, and what another policy would have said.

use super::ask::Answers;
use super::exit::Exit;
use super::policy::{Which, enforce, switch};
use super::term::{self, Kind};
use crate::policy::lang::{Sheets, Switching};
use crate::supervisor::calls::Refused;
use crate::supervisor::hear::Witness;
use crate::supervisor::second::Second;
use crate::supervisor::view::audit::lifted;
use crate::trace::{Ledger, Record, Report};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// The flags.
#[derive(clap::Args, Debug)]
pub(super) struct Listen {
    /// Enforce the policy, or do what it refuses all the same and tell that
    #[arg(long, value_enum, default_value_t = Mode::Enforce, requires = "policy")]
    mode: Mode,
    /// Tell what another policy would have decided otherwise
    #[arg(long, value_name = "FILE", requires = "policy")]
    shadow: Option<String>,
    /// Tell each refusal on standard error
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// Write each refusal, and how the run ended, as a line of JSON
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
}

/// What a policy is for in a run.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// What it says holds
    Enforce,
    /// What its rules for files, programs and calls refuse is done, in copy-on-write directories, and told
    Audit,
}

/// The policies of a run.
pub(super) struct Policies {
    /// What is enforced.
    pub(super) enforced: Arc<Sheets>,
    /// What was asked for: the same, but in an audit.
    asked: Arc<Sheets>,
    shadow: Option<Arc<Sheets>>,
    /// What is asked for and nobody enforces.
    gaps: Vec<String>,
    /// Who hears all, and tells nobody.
    recorder: Option<Arc<dyn Witness>>,
    /// What programs may be switched to.
    pub(super) switching: Option<(Arc<Switching>, Vec<Refused>)>,
    /// What the user has answered.
    pub(super) answers: Arc<Answers>,
}

impl Policies {
    /// Those of a recording.
    pub(super) fn recording(
        asked: Arc<Sheets>,
        enforced: Arc<Sheets>,
        recorder: Arc<dyn Witness>,
    ) -> Self {
        Self {
            answers: Arc::new(Answers::new(Arc::clone(&enforced))),
            enforced,
            asked,
            shadow: None,
            gaps: Vec::new(),
            recorder: Some(recorder),
            switching: None,
        }
    }
}

impl Listen {
    fn is_audit(&self) -> bool {
        self.mode == Mode::Audit
    }

    /// Reads the policies. What is wrong has been told.
    pub(super) fn load(&self, which: &Which) -> Result<Policies, Exit> {
        if self.is_audit() && self.shadow.is_some() {
            let text = "--shadow compares with a policy that is enforced, and --mode audit enforces none\n  hint: leave one of them out";
            term::message(Kind::Error, text);
            return Err(Exit::Usage);
        }
        let shadow = match &self.shadow {
            None => None,
            Some(policy) => {
                let which = Which {
                    policy: policy.clone(),
                    ..which.clone()
                };
                Some(Arc::new(which.load()?))
            }
        };
        if !self.is_audit() {
            let ((sheets, gaps), switching, further) = enforce::load(which)?;
            if let Some(shadow) = &shadow {
                switch::not_with(&sheets, "--shadow")?;
                switch::not_with(shadow, "--shadow")?;
            }
            let switches = !switching.names().is_empty();
            return Ok(Policies {
                switching: switches.then(|| (Arc::new(switching), further)),
                answers: Arc::new(Answers::new(Arc::clone(&sheets))),
                enforced: Arc::clone(&sheets),
                asked: sheets,
                shadow,
                gaps,
                recorder: None,
            });
        }
        let asked = which.load()?;
        switch::not_with(&asked, "--mode audit")?;
        let enforced = lifted(&asked).map_err(|bad| {
            term::message(
                Kind::Error,
                &format!("auditing {}: {}", which.policy, bad.why),
            );
            Exit::Internal
        })?;
        let (enforced, gaps) = enforce::without_gaps(enforced)?;
        Ok(Policies {
            answers: Arc::new(Answers::new(Arc::clone(&enforced))),
            enforced,
            asked: Arc::new(asked),
            shadow: None,
            gaps,
            recorder: None,
            switching: None,
        })
    }

    /// Opens the report.
    pub(super) fn report(
        &self,
        policies: Option<&Policies>,
        which: Option<&str>,
        command: &[OsString],
    ) -> Result<Option<Report>, String> {
        let Some(path) = &self.report else {
            return Ok(None);
        };
        let report =
            Report::create(path).map_err(|e| format!("--report {}: {e}", path.display()))?;
        let program = command.iter();
        report.write(&Record::Start {
            version: 1,
            sbox: env!("CARGO_PKG_VERSION"),
            mode: if self.is_audit() { "audit" } else { "enforce" },
            policy: which,
            shadow: self.shadow.as_deref(),
            program: program
                .map(|word| word.as_bytes().escape_ascii().to_string())
                .collect(),
            gaps: policies.map_or_else(Vec::new, |policies| policies.gaps.clone()),
        });
        Ok(Some(report))
    }

    /// Who is told what.
    pub(super) fn listeners(
        &self,
        policies: Option<&Policies>,
        report: Option<Report>,
    ) -> (Option<Arc<Ledger>>, Option<Arc<dyn Witness>>) {
        let Some(policies) = policies else {
            let wanted = self.verbose || report.is_some();
            let ledger = wanted.then(|| Arc::new(Ledger::new(self.verbose, None, None, report)));
            return (ledger, None);
        };
        if let Some(recorder) = &policies.recorder {
            return (None, Some(Arc::clone(recorder)));
        }
        let ledger = Arc::new(Ledger::new(
            self.verbose,
            Some(Arc::clone(&policies.asked)),
            policies.shadow.clone(),
            report,
        ));
        let second = match &policies.shadow {
            Some(shadow) => Some(Second::shadow(
                Arc::clone(shadow),
                Arc::clone(&ledger),
                &enforce::NEEDED,
            )),
            None if self.is_audit() => Some(Second::audit(
                Arc::clone(&policies.asked),
                Arc::clone(&ledger),
                &enforce::NEEDED,
            )),
            None => None,
        };
        let witness = second.map(|second| {
            let silent = second.silent();
            if !silent.is_empty() {
                let text = format!("calls that are not told of here: {}", silent.join(", "));
                term::message(Kind::Note, &text);
            }
            Arc::new(second) as Arc<dyn Witness>
        });
        (Some(ledger), witness)
    }
}
