//! The relay: the thread that carries bytes between the two terminals, and passes on what isn't bytes: the size of the
//! window, signals, stopping and going on.
//!
//! It waits in poll(2) for whatever can happen, and holds a buffer for each direction. Where one is full its source isn't
//! read, so that whoever writes there waits as it would on a slow terminal.

use super::attendant::{Attendant, Order};
use super::buffer::{Buffer, Came, Lines};
use super::question::{self, Desk, NO_KEY};
use super::{STOPPING, TOLD, in_foreground, modes};
use crate::supervisor::last;
use crate::sys::process as sp;
use crate::sys::{self, Errno, pidfd};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{OutputFlags, Termios, tcgetattr};
use nix::unistd::{Pid, getpgid, getpgrp, tcgetpgrp};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Among the news, which are numbers of signals otherwise: no guest runs any more.
pub(super) const THE_END: u8 = 0;
/// Nor is this a signal: the first guest has ended, and others go on.
pub(super) const FIRST_ENDED: u8 = 255;

/// Among the news: a question stands.
pub(super) const LOOK_AGAIN: u8 = 254;

/// A screen or more; a pty gives out at most a page at once.
const OUTPUT_BYTES: usize = 64 << 10;
/// What is typed or pasted. More waits in the caller's terminal.
const INPUT_BYTES: usize = 16 << 10;

/// How long output under way may hold up a change of modes. What comes later looks odd, but comes.
const FLUSH: Duration = Duration::from_millis(250);
/// When to look again whether a stopped guest may have the terminal, where nobody would tell.
const AGAIN: Duration = Duration::from_millis(100);

/// What the relay is made of.
pub(super) struct Ends {
    pub(super) caller: OwnedFd,
    pub(super) master: OwnedFd,
    pub(super) attendant: Attendant,
    /// The other end of what the supervisor tells: stops of the first guest, and the end.
    pub(super) news: OwnedFd,
    pub(super) first: i32,
    pub(super) first_pidfd: OwnedFd,
    /// Give the terminal whenever we have it.
    pub(super) eager: bool,
    /// It is given already, but for the caller's modes.
    pub(super) given: bool,
    /// sbox's own messages go to the caller's terminal.
    pub(super) tells_there: bool,
    /// The modes that both terminals have.
    pub(super) modes: Termios,
    /// Questions to the user.
    pub(super) desk: Arc<Desk>,
}

pub(super) struct Relay {
    pub(super) desk: Arc<Desk>,
    /// `None` when it has hung up.
    caller: Option<OwnedFd>,
    /// Reading and writing the caller's terminal never waits.
    never_waits: bool,
    /// `None` when either side has hung up: then so must the other.
    master: Option<OwnedFd>,
    attendant: Attendant,
    news: OwnedFd,
    signals: SignalFd,
    first: i32,
    first_pidfd: OwnedFd,
    eager: bool,
    tells_there: bool,
    /// The caller's terminal is raw, and all input is the guests'.
    given: bool,
    /// The caller's modes, before it was made raw.
    modes: Option<Termios>,
    /// Those that the guests' terminal was given; they may have changed them.
    passed_on: Termios,
    /// How the caller's terminal treats output, if it is given.
    output_modes: OutputFlags,
    lines: Lines,
    pub(super) output: Buffer,
    input: Buffer,
    /// What makes the caller's terminal show text as it is.
    pub(super) afresh: Vec<u8>,
    /// The first guest is stopped, nobody could act upon it, and it is to be tried again.
    again: Option<(Instant, Signal)>,
}

/// What poll(2) has found.
struct Happened {
    news: bool,
    signals: bool,
    master: PollFlags,
    caller: PollFlags,
}

impl Relay {
    /// Gives the guests the terminal, if it is to be given from the start.
    pub(super) fn new(ends: Ends) -> sys::Result<Self> {
        let told: SigSet = TOLD.iter().copied().collect();
        let signals = SignalFd::with_flags(&told, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let flags = OFlag::from_bits_truncate(fcntl(&ends.caller, FcntlArg::F_GETFL)?);
        let mut relay = Self {
            desk: ends.desk,
            caller: Some(ends.caller),
            never_waits: flags.contains(OFlag::O_NONBLOCK),
            master: Some(ends.master),
            attendant: ends.attendant,
            news: ends.news,
            signals,
            first: ends.first,
            first_pidfd: ends.first_pidfd,
            eager: ends.eager,
            tells_there: ends.tells_there,
            given: false,
            modes: None,
            passed_on: ends.modes,
            output_modes: OutputFlags::empty(),
            lines: Lines::Kept,
            output: Buffer::new(OUTPUT_BYTES),
            input: Buffer::new(INPUT_BYTES),
            afresh: question::afresh(),
            again: None,
        };
        relay.lines = Lines::by(relay.guests_output_flags());
        if ends.given {
            relay.make_raw();
        }
        Ok(relay)
    }

    /// Carries until the end is told, and all output is out.
    pub(super) fn run(mut self) {
        // Whoever touches the caller's terminal from the background is stopped, and all of sbox with it: by this thread alone.
        let _ = SigSet::from_iter(STOPPING).thread_unblock();
        let mut ending = false;
        loop {
            let last_look = ending && !self.output.is_ready();
            let happened = match self.wait(last_look) {
                Ok(happened) => happened,
                Err(Errno::EINTR) => continue,
                // ENOMEM: the end can't be waited for.
                Err(_) => break,
            };
            if last_look && !happened.master.contains(PollFlags::POLLIN) {
                break;
            }
            self.carry(&happened);
            if happened.signals {
                for signal in self.pending_signals().iter() {
                    self.told(signal);
                }
            }
            if happened.news {
                ending |= self.hear();
            }
            self.pose();
            if let Some((_, signal)) = self.again.take_if(|(when, _)| *when <= Instant::now()) {
                self.first_stopped(signal);
            }
        }
        self.desk.given.store(false, Ordering::Release);
        self.output.complete();
        self.show();
        // The attendant goes with the socket, and finds nothing to do.
        modes::restore();
    }

    /// Waits until something happens. The last look doesn't wait.
    fn wait(&self, last_look: bool) -> sys::Result<Happened> {
        self.desk.given.store(self.given, Ordering::Release);
        let when = |condition, flag| if condition { flag } else { PollFlags::empty() };
        let mut fds = vec![
            PollFd::new(self.news.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(caller) = &self.caller {
            let input = when(self.given && self.input.has_room(), PollFlags::POLLIN);
            let output = when(self.output.is_ready(), PollFlags::POLLOUT);
            fds.push(PollFd::new(caller.as_fd(), input | output));
        }
        if let Some(master) = &self.master {
            let shows = self.output.has_room() && !self.desk.is_asked();
            let output = when(shows, PollFlags::POLLIN);
            let input = when(self.input.is_ready(), PollFlags::POLLOUT);
            fds.push(PollFd::new(master.as_fd(), output | input));
        }
        let timeout = match self.again {
            _ if last_look => PollTimeout::ZERO,
            None => PollTimeout::NONE,
            // Rounded up, or it would be waited for by asking.
            Some((when, _)) => {
                let left =
                    when.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                left.try_into().unwrap_or(PollTimeout::ZERO)
            }
        };
        poll(&mut fds, timeout)?;
        let mut found = fds
            .iter()
            .map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        let mut next = |there: bool| {
            when(there, PollFlags::all())
                & found.next().filter(|_| there).unwrap_or(PollFlags::empty())
        };
        Ok(Happened {
            news: !next(true).is_empty(),
            signals: !next(true).is_empty(),
            caller: next(self.caller.is_some()),
            master: next(self.master.is_some()),
        })
    }

    /// Moves what can be moved.
    fn carry(&mut self, happened: &Happened) {
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        if let Some(caller) = &self.caller
            && happened.caller.contains(PollFlags::POLLIN)
            && self.desk.takes_keys()
        {
            // A key comes alone. What a terminal answers to something that the guest has written, as a string, is no yes.
            let mut keys = [0u8; 4096];
            match nix::unistd::read(caller, &mut keys) {
                Ok(1) => self.desk.answer(keys.first().copied().unwrap_or(NO_KEY)),
                Ok(2..) => self.desk.answer(NO_KEY),
                _ => {}
            }
        } else if let Some(caller) = &self.caller
            && happened.caller.contains(PollFlags::POLLIN)
            && self
                .input
                .fill(caller.as_fd(), !self.never_waits, Lines::Kept)
                == Came::End
            && !happened.caller.intersects(gone)
        {
            // EIO: we are an orphan in the background, to whom no terminal belongs.
            self.let_go();
        }
        self.type_in();
        if happened.master.contains(PollFlags::POLLIN) {
            self.follow_output();
        }
        if let Some(master) = &self.master
            && happened.master.intersects(PollFlags::POLLIN | gone)
            && self.output.fill(master.as_fd(), false, self.lines) == Came::End
        {
            // The attendant has been killed: the guests' terminal has hung up.
            self.master = None;
        }
        self.show();
        if happened.caller.intersects(gone) {
            // As the guests' terminal does, when nobody has its master any more.
            (self.caller, self.master) = (None, None);
            self.output.clear();
        }
    }

    /// Gives the guests' terminal what it takes of the input.
    fn type_in(&mut self) {
        let failed = match &self.master {
            Some(master) => self.input.drain(master.as_fd()).is_err(),
            None => true,
        };
        if failed {
            self.input.clear();
        }
    }

    /// Gives the caller's terminal what it takes of the output. False: it takes none.
    pub(super) fn show(&mut self) -> bool {
        let failed = match &self.caller {
            Some(caller) => self.output.drain(caller.as_fd()).is_err(),
            None => true,
        };
        // EIO: nothing is shown of an orphan in the background, if the terminal wants it so (TOSTOP).
        if failed {
            self.output.clear();
        }
        !failed
    }

    /// Waits a little until what was written is shown, before the modes change.
    fn flush(&mut self) {
        let end = Instant::now() + FLUSH;
        self.show();
        while self.output.is_ready() && Instant::now() < end {
            let Some(caller) = &self.caller else { return };
            let mut fds = [PollFd::new(caller.as_fd(), PollFlags::POLLOUT)];
            // Whatever it says, the clock ends this.
            let _ = poll(&mut fds, PollTimeout::from(20u8));
            self.show();
        }
    }

    /// The news of the supervisor. True at the end.
    fn hear(&mut self) -> bool {
        let mut news = [0u8; 64];
        let Ok(n) = nix::unistd::read(&self.news, &mut news) else {
            return false;
        };
        let news = news.get(..n).unwrap_or_default();
        if news.contains(&FIRST_ENDED) {
            // As when a shell's program ends: the terminal is the caller's again, whose keys mean the run.
            self.flush();
            self.take_back();
            self.eager = false;
        }
        let mut stops = news.iter().rev();
        let stop = stops.find(|&&signal| ![THE_END, FIRST_ENDED, LOOK_AGAIN].contains(&signal));
        if let Some(signal) = stop.and_then(|&s| Signal::try_from(i32::from(s)).ok()) {
            self.first_stopped(signal);
        }
        news.contains(&THE_END)
    }

    /// What has been told meanwhile, each once.
    fn pending_signals(&self) -> SigSet {
        let mut all = SigSet::empty();
        while let Ok(Some(info)) = self.signals.read_signal() {
            if let Ok(signal) = Signal::try_from(info.ssi_signo.cast_signed()) {
                all.add(signal);
            }
        }
        all
    }

    fn told(&mut self, signal: Signal) {
        match signal {
            Signal::SIGWINCH => self.resize(),
            Signal::SIGCONT => self.continued(self.given),
            // From the caller's terminal, which isn't raw, or from kill(1).
            signal => {
                match (&self.master, self.guests_in_front()) {
                    // By the terminal, as the group may have ended, and its number be somebody else's.
                    (Some(master), Some(_)) => {
                        let _ = sys::terminal::signal_foreground(master.as_fd(), signal as i32);
                    }
                    _ => match self.first_group() {
                        None if signal != Signal::SIGTSTP => last::end(),
                        group => tell_group(group, signal),
                    },
                }
            }
        }
    }

    /// The first guest has stopped. Either it is to have the terminal, or we stop as well.
    fn first_stopped(&mut self, signal: Signal) {
        self.again = None;
        if !self.first_is_stopped() {
            return;
        }
        let wants_terminal = STOPPING.contains(&signal);
        let held = self.guests_in_front().is_none();
        if wants_terminal && held && self.in_foreground() {
            self.give(self.first_group());
            tell_group(self.first_group(), Signal::SIGCONT);
        } else {
            self.stop(signal);
        }
    }

    /// Stops sbox, as the caller's shell expects of a job. Returns when it goes on.
    fn stop(&mut self, signal: Signal) {
        let wants_terminal = STOPPING.contains(&signal);
        let had = self.given;
        let in_front = self.guests_in_front();
        self.flush();
        self.take_back();
        // A terminal that isn't raw has told the whole job; so does the kernel where somebody in the background reads.
        let everybody = wants_terminal || had && signal == Signal::SIGTSTP;
        let woken = stop_by(signal, everybody, || self.pending_signals());
        for signal in woken.iter().filter(|&s| s != Signal::SIGCONT) {
            self.told(signal);
        }
        if woken.contains(Signal::SIGCONT) || !wants_terminal {
            self.go_on(had || wants_terminal || self.eager, in_front);
        } else {
            // The kernel stops no orphans (setpgid(2)): nobody would continue them, or tell when they may read.
            self.again = Some((Instant::now() + AGAIN, signal));
        }
    }

    /// sbox was continued without having stopped itself.
    fn continued(&mut self, give: bool) {
        let in_front = self.guests_in_front();
        if !self.in_foreground() {
            self.let_go();
        }
        self.go_on(give || self.eager, in_front);
    }

    /// After a stop: the terminal as it is now, and the guests go on.
    fn go_on(&mut self, give: bool, in_front: Option<Pid>) {
        self.resize();
        if give && self.in_foreground() {
            self.give(in_front.or_else(|| self.first_group()));
        }
        tell_group(self.first_group(), Signal::SIGCONT);
    }

    /// The guests' terminal becomes as large as the caller's.
    fn resize(&mut self) {
        let (Some(caller), Some(master)) = (&self.caller, &self.master) else {
            return;
        };
        let Ok(size) = sys::terminal::window_size(caller.as_fd()) else {
            return;
        };
        let old = sys::terminal::window_size(master.as_fd());
        // Fails for nobody. The kernel tells those in the foreground.
        let _ = sys::terminal::set_window_size(master.as_fd(), &size);
        let cells = |size: &sys::terminal::WindowSize| (size.ws_row, size.ws_col);
        if self.guests_in_front().is_none() && old.is_ok_and(|old| cells(&old) != cells(&size)) {
            tell_group(self.first_group(), Signal::SIGWINCH);
        }
    }

    /// From held to given: `group` is in the foreground, the caller's terminal is raw.
    fn give(&mut self, group: Option<Pid>) {
        let (Some(caller), Some(group)) = (&self.caller, group) else {
            return;
        };
        // Without an attendant there is no guests' terminal any more.
        if self.attendant.ask(Order::Remember).is_err() {
            return;
        }
        if !self.given {
            self.output.complete();
            // What isn't taken at once comes out raw.
            let _ = self.output.drain(caller.as_fd());
        }
        if !self.make_raw() {
            return;
        }
        let first = self.first_group().map_or(0, Pid::as_raw);
        // EPERM: the group that was in front has ended meanwhile.
        let _ = self
            .attendant
            .ask(Order::Foreground(group.as_raw()))
            .or_else(|_| self.attendant.ask(Order::Foreground(first)));
    }

    /// The caller's terminal becomes raw, and the guests' gets the modes that it had.
    fn make_raw(&mut self) -> bool {
        let output = self.output_flags();
        let made = self
            .caller
            .as_ref()
            .is_some_and(|caller| modes::make_raw(caller.as_fd(), &mut self.modes, output).is_ok());
        if !made {
            return false;
        }
        if let (Some(master), Some(saved)) = (&self.master, &self.modes) {
            // Fails only if it has hung up.
            let _ = modes::pass_on(master.as_fd(), &mut self.passed_on, saved);
        }
        self.given = true;
        self.set_output_modes(output);
        self.lines = Lines::by(output);
        true
    }

    /// From given to held: the caller's terminal as it was.
    fn take_back(&mut self) {
        if self.given {
            modes::restore();
        }
        self.let_go();
    }

    /// From given to held, when the caller's terminal is no longer ours to change.
    fn let_go(&mut self) {
        modes::let_go();
        self.given = false;
        // They fail when it has been killed. Then there is nothing to hold or to forget.
        let _ = self.attendant.ask(Order::Hold);
        let _ = self.attendant.ask(Order::Forget);
        self.lines = Lines::by(self.guests_output_flags());
    }

    /// How the caller's terminal is to treat what is written there, while it is given. Where others write to it as well, it
    /// has to make lines of their text; then it does to all what the guests' terminal does to theirs.
    fn output_flags(&self) -> OutputFlags {
        if self.eager {
            return OutputFlags::empty();
        }
        self.guests_output_flags()
    }

    fn guests_output_flags(&self) -> OutputFlags {
        match self.master.as_ref().map(tcgetattr) {
            Some(Ok(modes)) => modes.output_flags,
            _ => OutputFlags::empty(),
        }
    }

    /// Follows guests that change how their terminal treats output.
    fn follow_output(&mut self) {
        if self.eager || !self.given {
            return;
        }
        let output = self.output_flags();
        self.lines = Lines::by(output);
        if output != self.output_modes
            && let Some(caller) = &self.caller
            && modes::make_raw(caller.as_fd(), &mut self.modes, output).is_ok()
        {
            self.set_output_modes(output);
        }
    }

    fn set_output_modes(&mut self, output: OutputFlags) {
        self.output_modes = output;
        crate::trace::on_raw_terminal(self.tells_there && !output.contains(OutputFlags::OPOST));
    }

    fn in_foreground(&self) -> bool {
        self.caller
            .as_ref()
            .is_some_and(|caller| in_foreground(caller.as_fd()))
    }

    /// The guests' group in the foreground of their terminal, if it is given.
    fn guests_in_front(&self) -> Option<Pid> {
        let group = tcgetpgrp(self.master.as_ref()?).ok()?;
        (group.as_raw() != self.attendant.pid && group.as_raw() > 1).then_some(group)
    }

    fn first_group(&self) -> Option<Pid> {
        let group = getpgid(Some(Pid::from_raw(self.first))).ok()?;
        // Who hasn't been reaped by now had the number before.
        pidfd::send_signal(self.first_pidfd.as_fd(), 0).ok()?;
        Some(group)
    }

    fn first_is_stopped(&self) -> bool {
        let stat = procfs::process::Process::new(self.first).and_then(|process| process.stat());
        stat.is_ok_and(|stat| matches!(stat.state, 'T' | 't'))
    }
}

/// Sends a signal to a group of guests. ESRCH: it has ended.
fn tell_group(group: Option<Pid>, signal: Signal) {
    // Never our own, nor everybody.
    if let Some(group) = group.filter(|&group| group.as_raw() > 1 && group != getpgrp()) {
        let _ = killpg(group, signal);
    }
}

/// Stops this process, or its whole group, as `signal` does. Afterwards, what came meanwhile: with SIGCONT if it did stop.
fn stop_by(signal: Signal, everybody: bool, pending: impl Fn() -> SigSet) -> SigSet {
    let own: SigSet = [signal].into_iter().collect();
    // SIGSTOP is never blocked.
    let _ = own.thread_unblock();
    // Taken by this very thread before the call returns: all others block it, and to one thread alone go the others.
    let _ = if everybody {
        killpg(getpgrp(), signal)
    } else {
        sp::tgkill(
            std::process::id().cast_signed(),
            sp::gettid(),
            signal as i32,
        )
    };
    if !STOPPING.contains(&signal) {
        let _ = own.thread_block();
    }
    pending()
}
