//! Scenes: what somebody types, and the screen afterwards, natively and in sbox. tmux(1) is the terminal.
//!
//! In an *inner* scene the shell runs in sbox; natively it is just a shell. In an *outer* scene the shell is the host's and
//! runs `r PROGRAM`, which is the program natively, and `sbox run -- PROGRAM` in sbox.
//!
//! Long because it is a list of scenes.

use crate::support::{Named, Skip, Test, need, need_sbox, sbox, scratch};
use crate::tests;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What happens in a scene.
enum Step {
    /// These keys, as tmux(1) calls them: one word is a key or a text.
    Keys(&'static [&'static str]),
    /// Wait until the screen shows this.
    See(&'static str),
    /// Let something happen that shows nothing.
    Pause(u64),
    /// The window gets this many columns and rows.
    Resize(u16, u16),
}
use Step::{Keys, Pause, Resize, See};

/// Where sbox is in a scene.
#[derive(Clone, Copy, PartialEq)]
enum Scene {
    Inner,
    Outer,
}
use Scene::{Inner, Outer};

/// A line typed to a shell, and the prompt that follows it.
macro_rules! line {
    ($text:expr, $prompt:expr) => {
        [Keys(&[$text, "Enter"]), See($prompt)]
    };
}

/// The steps of several pieces.
macro_rules! steps {
    ($($piece:expr),* $(,)?) => {{
        let mut all: Vec<Step> = Vec::new();
        $(all.extend($piece);)*
        all
    }};
}

pub(crate) fn tests() -> Vec<Named> {
    tests![
        ctrl_c_at_the_prompt,
        ctrl_c_in_a_loop,
        stop_continue_and_list,
        pipelines_in_front,
        pipelines_behind,
        kill_by_job_number,
        reading_in_the_background,
        writing_in_the_background,
        scripts_with_job_control,
        shells_in_shells,
        a_recorded_session,
        paging,
        editing,
        a_full_screen_program_once,
        windows_that_change,
        the_end_of_input,
        quitting,
        a_shell_that_becomes_another,
        reading_with_a_limit,
        outer_stop_and_continue,
        outer_start_behind,
        outer_pipeline_that_reads,
        outer_pager_at_the_end,
        outer_pager_behind,
        outer_editor,
        outer_shell_that_suspends,
        outer_stopped_by_itself,
        outer_tostop,
        outer_question_on_the_terminal,
        outer_windows_that_change,
        outer_quitting,
        outer_silent_typing,
    ]
}

/// A server of tmux(1) of our own, with one window.
pub(crate) struct Window {
    /// Of its socket, whose path has to be short: unix(7).
    dir: tempfile::TempDir,
}

impl Window {
    pub(crate) fn open(command: &[String]) -> Result<Self, Skip> {
        let tmux = need(&["/usr/bin/tmux", "/usr/local/bin/tmux"])?;
        let dir = tempfile::tempdir_in("/tmp").expect("a directory in /tmp");
        let window = Self { dir };
        let mut all = Command::new(tmux);
        all.args(["-L", "t", "-f", "/dev/null", "new-session", "-d"])
            .args(["-x", "80", "-y", "24", "--"])
            .args(command);
        window.run(all);
        Ok(window)
    }

    pub(crate) fn tmux(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.args(["-L", "t"]).args(args);
        self.run(command)
    }

    fn run(&self, mut command: Command) -> String {
        let output = command
            .env("TMUX_TMPDIR", self.dir.path())
            .env("LC_ALL", "C.UTF-8")
            .env_remove("TMUX")
            .output()
            .expect("tmux");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits for a text; a prompt that ends a line is meant without its space.
    pub(crate) fn see(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut screen = self.screen();
        while !screen.contains(text) {
            assert!(
                Instant::now() < deadline,
                "never seen: {text:?}; but:\n{}",
                screen.trim_end()
            );
            std::thread::sleep(Duration::from_millis(20));
            screen = self.screen();
        }
    }

    fn play(&self, steps: &[Step], slowness: u64) -> String {
        for step in steps {
            match step {
                Keys(keys) => {
                    self.tmux(&[&["send-keys"], *keys].concat());
                }
                See(text) => self.see(text),
                Pause(ms) => std::thread::sleep(Duration::from_millis(*ms * slowness)),
                Resize(columns, rows) => {
                    let (columns, rows) = (columns.to_string(), rows.to_string());
                    self.tmux(&["resize-window", "-x", &columns, "-y", &rows]);
                }
            }
        }
        // What is still to come belongs to the scene.
        let mut last = self.screen();
        loop {
            std::thread::sleep(Duration::from_millis(150));
            let now = self.screen();
            if now == last {
                return now;
            }
            last = now;
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// The shell's command for one side. The working directory is one of this side's own.
fn command(scene: Scene, in_sbox: bool, dir: &Path) -> Vec<String> {
    let sandbox = |rest: &[&str]| -> Vec<String> {
        let dir = dir.to_str().expect("a path in UTF-8").to_owned();
        let mut all = vec![sbox().to_str().expect("a path in UTF-8").to_owned()];
        all.extend(["run", "-q", "--rw"].map(str::to_owned));
        all.push(dir);
        all.extend(["--env", "*", "--"].map(str::to_owned));
        all.extend(rest.iter().map(|&s| s.to_owned()));
        all
    };
    let shell = ["bash", "--norc", "--noprofile"];
    let prefix: Vec<String> = if in_sbox { sandbox(&[]) } else { vec![] };
    let r = dir.join("r");
    fs::write(&r, format!("#!/bin/sh\nexec {} \"$@\"\n", prefix.join(" "))).expect("write");
    fs::set_permissions(&r, fs::Permissions::from_mode(0o755)).expect("chmod");
    let mut all: Vec<String> = [
        "env",
        "-i",
        "-C",
        dir.to_str().expect("a path in UTF-8"),
        "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:.",
        "TERM=screen",
        "LC_ALL=C.UTF-8",
        "HOME=/tmp",
        "HISTFILE=",
        "LESSHISTFILE=-",
        "PS1=\\#> ",
    ]
    .map(str::to_owned)
    .to_vec();
    if in_sbox && scene == Inner {
        all.extend(sandbox(&shell));
    } else {
        all.extend(shell.map(str::to_owned));
    }
    all
}

/// Process numbers differ by nature: four digits and more, and those that a shell tells of its jobs, which it puts
/// into columns.
fn normalised(screen: &str) -> String {
    let mut out = String::new();
    for line in screen.trim_end().lines() {
        let mut words: Vec<String> = vec![];
        let mut may_be_of_job = line.starts_with('[');
        for (at, word) in line.trim_end().split(' ').enumerate() {
            let number = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
            let after_group = words.last().is_some_and(|before| before == "group");
            if number && (word.len() > 3 || may_be_of_job || after_group) {
                if may_be_of_job {
                    words.retain(|before| !before.is_empty());
                }
                words.push("N".to_owned());
            } else {
                words.push(word.to_owned());
            }
            may_be_of_job &= at == 0 || word.is_empty();
        }
        out.push_str(&words.join(" "));
        out.push('\n');
    }
    out
}

/// How often a scene is played before a difference counts: where a shell tells of a job while another program writes, or
/// the keys are still on their way, it may come first or second, natively, too. What is wrong is wrong every time.
const PLAYS: u64 = 4;

/// Plays a scene on both sides and compares what is on the screen.
fn same(scene: Scene, steps: &[Step]) -> Test {
    need_sbox()?;
    need(&["/usr/bin/bash", "/bin/bash"])?;
    let play = |in_sbox, slowness| -> Result<String, Skip> {
        let work = scratch();
        let window = Window::open(&command(scene, in_sbox, work.path()))?;
        window.see("1>");
        Ok(normalised(&window.play(steps, slowness)))
    };
    let mut difference = String::new();
    // Each time slower, for the machine may be busy.
    for slowness in 1..=PLAYS {
        let both = || Ok((play(false, slowness)?, play(true, slowness)?));
        match catch_unwind(AssertUnwindSafe(both)) {
            Ok(Ok((natively, inside))) if natively == inside => return Ok(()),
            Ok(Ok((natively, inside))) => {
                difference = format!("natively:\n{natively}\nin sbox:\n{inside}");
            }
            Ok(Err(skip)) => return Err(skip),
            // What a scene waits for hasn't come.
            Err(why) if slowness == PLAYS => resume_unwind(why),
            Err(_) => {}
        }
    }
    panic!("{difference}");
}

fn ctrl_c_at_the_prompt() -> Test {
    same(
        Inner,
        &steps![
            [Keys(&["echo never run", "C-c"]), Pause(300)],
            [Keys(&["echo $?", "Enter"]), See("130")],
        ],
    )
}

fn ctrl_c_in_a_loop() -> Test {
    same(
        Inner,
        &steps![
            [
                Keys(&["while :; do sleep 2; done", "Enter"]),
                Pause(400),
                Keys(&["C-c"]),
                See("2>"),
            ],
            line!("echo $?", "3>"),
            [
                Keys(&["for i in 1 2 3; do sleep 9; echo $i; done", "Enter"]),
                Pause(400),
                Keys(&["C-c"]),
                See("4>"),
            ],
            line!(
                "trap 'echo caught' INT; sh -c 'trap \"echo me too\" INT; sleep 0.8'",
                "5>"
            ),
        ],
    )
}

fn stop_continue_and_list() -> Test {
    same(
        Inner,
        &steps![
            [
                Keys(&["sleep 100", "Enter"]),
                Pause(300),
                Keys(&["C-z"]),
                See("2>"),
            ],
            line!("jobs", "3>"),
            line!("bg", "4>"),
            line!("jobs", "5>"),
            [
                Keys(&["fg", "Enter"]),
                Pause(300),
                Keys(&["C-c"]),
                See("6>"),
            ],
            line!("echo $?; jobs", "7>"),
        ],
    )
}

fn pipelines_in_front() -> Test {
    same(
        Inner,
        &steps![
            [
                Keys(&["cat | tr a-z A-Z | cat", "Enter"]),
                Pause(300),
                Keys(&["hello", "Enter", "C-d"]),
                See("2>"),
            ],
            [
                Keys(&["sleep 100 | cat | cat", "Enter"]),
                Pause(300),
                Keys(&["C-z"]),
                See("3>"),
            ],
            line!("jobs", "4>"),
            [
                Keys(&["fg", "Enter"]),
                Pause(300),
                Keys(&["C-c"]),
                See("5>"),
            ],
            [
                Keys(&["sh -c 'exit 3' | (sleep 9; exit 4)", "Enter"]),
                Pause(300),
                Keys(&["C-c"]),
                See("6>"),
            ],
            line!("echo ${PIPESTATUS[@]}", "7>"),
        ],
    )
}

fn pipelines_behind() -> Test {
    same(
        Inner,
        &steps![
            line!("sleep 100 | sleep 100 | sleep 100 &", "2>"),
            line!("sleep 200 &", "3>"),
            line!("jobs", "4>"),
            line!("kill %1; wait %1; echo $?", "5>"),
            line!("kill -STOP %2; sleep 0.3", "6>"),
            line!("jobs; kill -9 %2; sleep 0.3", "7>"),
            line!("jobs", "8>"),
        ],
    )
}

fn kill_by_job_number() -> Test {
    same(
        Inner,
        &steps![
            line!("sleep 100 &", "2>"),
            line!("kill %1; sleep 0.5", "3>"),
            line!("wait; jobs", "4>"),
            line!(
                "sleep 100 & sleep 0.2; kill -INT %%; wait $!; echo $?",
                "5>"
            ),
            line!("kill %5", "6>"),
            line!("disown -a; jobs", "7>"),
        ],
    )
}

fn reading_in_the_background() -> Test {
    same(
        Inner,
        &steps![
            [Keys(&["cat &", "Enter"]), Pause(400)],
            line!("jobs -l", "3>"),
            [
                Keys(&["fg", "Enter"]),
                Pause(300),
                Keys(&["typed", "Enter", "C-d"]),
                See("4>"),
            ],
            line!("jobs; echo $?", "5>"),
            line!("(trap '' TTIN; cat; echo $?) & wait", "6>"),
        ],
    )
}

fn writing_in_the_background() -> Test {
    same(
        Inner,
        &steps![
            line!("stty tostop", "2>"),
            [Keys(&["(sleep 0.2; echo hi) &", "Enter"]), Pause(600)],
            line!("jobs -l", "4>"),
            [Keys(&["fg", "Enter"]), See("5>")],
            line!("stty -tostop; (echo ho; stty -echo) & sleep 0.5", "6>"),
            line!("jobs -l", "7>"),
        ],
    )
}

fn scripts_with_job_control() -> Test {
    same(
        Inner,
        &steps![
            line!(
                "bash -c 'set -m; sleep 0.2 & fg; echo $?; sleep 100 & jobs; kill -STOP %1; sleep 0.3; disown -a; kill -9 $!'",
                "2>"
            ),
            line!(
                "sh -c 'set -m; sleep 0.2 & fg; sleep 100 & kill -STOP %1; sleep 0.2; jobs; kill -9 %1'",
                "3>"
            ),
            [
                Keys(&["bash -c 'set -m; sleep 100; echo $?'", "Enter"]),
                Pause(500),
                Keys(&["C-c"]),
                See("4>"),
            ],
            line!("stty -a | grep -o tostop; stty -a | grep -o isig", "5>"),
        ],
    )
}

fn shells_in_shells() -> Test {
    same(
        Inner,
        &steps![
            [
                Keys(&["PS1='in\\#= ' bash --norc", "Enter"]),
                See("in1="),
                Keys(&["sleep 100", "Enter"]),
                Pause(300),
                Keys(&["C-z"]),
                See("in2="),
            ],
            line!("suspend", "2>"),
            line!("jobs", "3>"),
            [Keys(&["fg", "Enter"]), See("in3=")],
            line!("jobs", "in4="),
            line!("exit 7", "4>"),
            line!("echo $?", "5>"),
        ],
    )
}

fn a_recorded_session() -> Test {
    need(&["/usr/bin/script"])?;
    same(
        Inner,
        &steps![
            line!(
                "script -qec 'stty size; sh -c \"exit 9\"' /dev/null; echo $?",
                "2>"
            ),
            [
                Keys(&["script -q -c 'bash --norc' log", "Enter"]),
                Pause(500),
                Keys(&["sleep 100", "Enter"]),
                Pause(300),
                Keys(&["C-z"]),
                See("Stopped"),
                Keys(&["fg", "Enter"]),
                Pause(300),
                Keys(&["C-c"]),
                Pause(300),
                Keys(&["tty > /dev/null && echo a terminal", "Enter"]),
                See("4>"),
                Keys(&["exit", "Enter"]),
                Pause(1500),
            ],
            line!("grep -c terminal log", "3> "),
        ],
    )
}

fn paging() -> Test {
    need(&["/usr/bin/less"])?;
    same(
        Inner,
        &steps![[
            Keys(&["seq 1000 > f; less f", "Enter"]),
            Pause(500),
            Keys(&["/500", "Enter"]),
            See("522"),
            Resize(100, 30),
            See("528"),
            Keys(&["C-z"]),
            See("2>"),
            Keys(&["fg", "Enter"]),
            See("528"),
            Keys(&["G"]),
            See("1000"),
        ],],
    )?;
    same(
        Inner,
        &steps![
            [
                Keys(&["seq 1000 | less", "Enter"]),
                See("23"),
                Keys(&["q"]),
                See("2>"),
            ],
            line!("stty -a | tail -3", "3>"),
        ],
    )
}

fn editing() -> Test {
    need(&["/usr/bin/vim"])?;
    same(
        Inner,
        &steps![
            [
                Keys(&["vim -u NONE -N f", "Enter"]),
                See("~"),
                Keys(&["i", "first line", "Enter", "second", "Escape"]),
                Pause(300),
                Keys(&["C-z"]),
                See("2>"),
            ],
            line!("jobs", "3>"),
            [
                Keys(&["fg", "Enter"]),
                See("second"),
                Resize(60, 20),
                Pause(300),
                Keys(&[":!stty size", "Enter"]),
                See("20 60"),
                Keys(&["Enter"]),
                Pause(300),
                Keys(&[":wq", "Enter"]),
                See("4>"),
            ],
            line!("cat f", "5>"),
        ],
    )
}

fn a_full_screen_program_once() -> Test {
    need(&["/usr/bin/top"])?;
    same(
        Inner,
        &steps![
            line!("top -n1 > /dev/null; echo $?", "2>"),
            [
                Keys(&["top", "Enter"]),
                See("PID"),
                Keys(&["q"]),
                See("3>"),
                Keys(&["clear", "Enter"]),
                See("4>"),
            ],
            line!("echo $?; stty -a", "5>"),
        ],
    )
}

fn windows_that_change() -> Test {
    same(
        Inner,
        &steps![
            line!("stty size; trap 'echo resized' WINCH", "2>"),
            [
                Keys(&[
                    "sh -c 'trap \"stty size; exit\" WINCH; while :; do sleep 0.1; done'",
                    "Enter"
                ]),
                Pause(500),
                Resize(90, 30),
                See("3>"),
            ],
            line!("stty size; echo $LINES $COLUMNS", "4>"),
            [Resize(70, 20), Pause(300)],
            line!("stty size", "5>"),
        ],
    )
}

fn the_end_of_input() -> Test {
    same(
        Inner,
        &steps![
            [
                Keys(&["cat", "Enter"]),
                Pause(200),
                Keys(&["no line end", "C-d"]),
                Pause(200),
                Keys(&["C-d"]),
                See("2>"),
            ],
            [
                Keys(&["PS1='in> ' sh", "Enter"]),
                See("in>"),
                Keys(&["C-d"]),
                See("3>"),
            ],
            [
                Keys(&["IGNOREEOF=1", "Enter"]),
                See("4>"),
                Keys(&["C-d"]),
                Pause(300),
            ],
        ],
    )
}

fn quitting() -> Test {
    same(
        Inner,
        &steps![
            line!("ulimit -c 0", "2>"),
            [
                Keys(&["sleep 100", "Enter"]),
                Pause(300),
                Keys(&["C-\\"]),
                See("3>"),
            ],
            line!("echo $?", "4>"),
            [
                Keys(&["sh -c 'trap \"\" QUIT; sleep 0.8; echo deaf'", "Enter"]),
                Pause(300),
                Keys(&["C-\\"]),
                See("5>"),
            ],
        ],
    )
}

fn a_shell_that_becomes_another() -> Test {
    same(
        Inner,
        &steps![
            line!("sleep 100 &", "2>"),
            [
                Keys(&["PS1='new\\#= ' exec bash --norc", "Enter"]),
                See("new1="),
                Keys(&["sleep 50", "Enter"]),
                Pause(300),
                Keys(&["C-z"]),
                See("new2="),
            ],
            line!("jobs", "new3="),
            [
                Keys(&["fg", "Enter"]),
                Pause(300),
                Keys(&["C-c"]),
                See("new4="),
            ],
            [
                Keys(&["exec sh -c 'read x; echo got $x; sleep 9'", "Enter"]),
                Pause(300),
                Keys(&["last", "Enter"]),
                See("got last"),
            ],
        ],
    )
}

fn reading_with_a_limit() -> Test {
    same(
        Inner,
        &steps![
            line!("read -t 0.3 x; echo $?", "2>"),
            [
                Keys(&["read -t 9 x; echo \"<$x>\"", "Enter"]),
                Pause(200),
                Keys(&["words here", "BSpace", "Enter"]),
                See("3>"),
            ],
            [
                Keys(&["read -n 3 x; echo \"<$x>\"", "Enter"]),
                Pause(200),
                Keys(&["abc"]),
                See("4>"),
            ],
            [
                Keys(&["read -s x; echo \"<$x>\"", "Enter"]),
                Pause(200),
                Keys(&["secret", "Enter"]),
                See("5>"),
            ],
        ],
    )
}

fn outer_stop_and_continue() -> Test {
    same(
        Outer,
        &steps![
            [
                Keys(&["r sleep 100", "Enter"]),
                Pause(600),
                Keys(&["C-z"]),
                See("2>"),
            ],
            line!("jobs; stty -a | tail -2", "3>"),
            line!("bg", "4>"),
            line!("jobs", "5>"),
            [
                Keys(&["fg", "Enter"]),
                Pause(500),
                Keys(&["C-c"]),
                See("6>"),
            ],
            line!("echo $?; stty -a", "7>"),
        ],
    )
}

fn outer_start_behind() -> Test {
    same(
        Outer,
        &steps![
            [Keys(&["r cat &", "Enter"]), Pause(1000)],
            line!("jobs", "3>"),
            [
                Keys(&["fg", "Enter"]),
                Pause(500),
                Keys(&["typed", "Enter"]),
                Pause(200),
                Keys(&["C-z"]),
                See("4>"),
            ],
            line!("jobs", "5>"),
            [
                Keys(&["fg", "Enter"]),
                Pause(500),
                Keys(&["more", "Enter", "C-d"]),
                See("6>"),
            ],
            line!("echo $?; stty -a | tail -2", "7>"),
        ],
    )
}

fn outer_pipeline_that_reads() -> Test {
    same(
        Outer,
        &steps![
            line!("echo x | r cat", "2>"),
            line!("r seq 3 | tr 1-3 a-c", "3>"),
            [
                Keys(&["r cat | tr a-z A-Z", "Enter"]),
                Pause(800),
                // No line end, which would race with what tr(1) writes by itself.
                Keys(&["hello"]),
                See("hello"),
                Keys(&["C-d"]),
                Pause(200),
                Keys(&["C-z"]),
                See("4>"),
            ],
            line!("jobs", "5>"),
            [
                Keys(&["fg", "Enter"]),
                Pause(500),
                Keys(&["again"]),
                See("again"),
                Keys(&["C-d"]),
                Pause(200),
                Keys(&["C-d"]),
                See("6>"),
            ],
            [
                Keys(&["r sleep 100 | cat", "Enter"]),
                Pause(600),
                Keys(&["C-c"]),
                See("7>"),
            ],
            line!("echo ${PIPESTATUS[@]}; stty -a | tail -2", "8>"),
        ],
    )
}

fn outer_pager_at_the_end() -> Test {
    need(&["/usr/bin/less"])?;
    same(
        Outer,
        &steps![
            [
                Keys(&["seq 500 | r less", "Enter"]),
                See("23"),
                Pause(300),
                Keys(&["G"]),
                See("500"),
                Keys(&["C-z"]),
                See("2>"),
                Keys(&["fg", "Enter"]),
                See("500"),
                Keys(&["q"]),
                See("3>"),
            ],
            line!("stty -a", "4>"),
        ],
    )
}

fn outer_pager_behind() -> Test {
    need(&["/usr/bin/less"])?;
    same(
        Outer,
        &steps![
            [
                Keys(&["r seq 500 | less", "Enter"]),
                See("23"),
                Keys(&["G"]),
                See("500"),
                Keys(&["q"]),
                See("2>"),
            ],
            [
                Keys(&["r sh -c 'seq 100; sleep 100' | less", "Enter"]),
                See("23"),
                Pause(300),
                Keys(&["Space"]),
                See("46"),
                Keys(&["q"]),
                Pause(300),
                Keys(&["C-c"]),
                See("3>"),
            ],
            line!("stty -a", "4>"),
        ],
    )
}

fn outer_editor() -> Test {
    need(&["/usr/bin/vim"])?;
    same(
        Outer,
        &steps![
            [
                Keys(&["r vim -u NONE -N f", "Enter"]),
                See("~"),
                Keys(&["i", "text", "Escape"]),
                Pause(300),
                Keys(&["C-z"]),
                See("2>"),
            ],
            line!("stty -a | tail -2", "3>"),
            [Resize(70, 20), Pause(300)],
            [
                Keys(&["fg", "Enter"]),
                See("~"),
                Pause(300),
                Keys(&[":put =[&lines, &columns]", "Enter"]),
                See("70"),
                Keys(&[":wq", "Enter"]),
                See("4>"),
            ],
            line!("cat f; stty -a", "5>"),
        ],
    )
}

fn outer_shell_that_suspends() -> Test {
    same(
        Outer,
        &steps![
            [
                Keys(&["r env PS1='in\\#= ' bash --norc", "Enter"]),
                See("in1="),
                Keys(&["sleep 100", "Enter"]),
                Pause(300),
                Keys(&["C-z"]),
                See("in2="),
            ],
            line!("suspend", "2>"),
            line!("jobs", "3>"),
            [Keys(&["fg", "Enter"]), See("in3=")],
            line!("jobs; kill -9 %1; sleep 0.3", "in4="),
            [Keys(&["C-d"]), See("4>")],
            line!("stty -a", "5>"),
        ],
    )
}

fn outer_stopped_by_itself() -> Test {
    same(
        Outer,
        &steps![
            line!(
                "r sh -c 'kill -STOP $$; echo on; kill -TSTP $$; echo end'",
                "2>"
            ),
            line!("jobs", "3>"),
            [Keys(&["fg", "Enter"]), See("4>")],
            [Keys(&["fg", "Enter"]), See("5>")],
            line!("jobs; stty -a | tail -2", "6>"),
        ],
    )
}

fn outer_tostop() -> Test {
    same(
        Outer,
        &steps![
            line!("stty tostop", "2>"),
            [
                Keys(&["r sh -c 'sleep 0.3; echo shown at last' &", "Enter"]),
                Pause(1300),
            ],
            line!("jobs", "4>"),
            [Keys(&["fg", "Enter"]), See("5>")],
            line!("stty -a | tail -2", "6>"),
        ],
    )
}

fn outer_question_on_the_terminal() -> Test {
    same(
        Outer,
        &steps![
            [
                Keys(&[
                    "x=$(echo from pipe | r sh -c 'read a; read b < /dev/tty; echo $a, $b')",
                    "Enter"
                ]),
                Pause(800),
                Keys(&["from me", "Enter"]),
                See("2>"),
            ],
            line!("echo \"<$x>\"", "3>"),
            [
                Keys(&[
                    "r sh -c 'stty -echo; read a; stty echo; echo \"<$a>\"' 2>&1 | cat",
                    "Enter"
                ]),
                Pause(800),
                Keys(&["unseen", "Enter"]),
                See("4>"),
            ],
            line!("stty -a | tail -2", "5>"),
        ],
    )
}

fn outer_windows_that_change() -> Test {
    let script = "r sh -c 'trap \"stty size < /dev/tty; exit\" WINCH; while :; do sleep 0.1; done'";
    let both: &'static [&'static str] = Box::leak(Box::new([script, "Enter"]));
    let piped: &'static str = Box::leak(format!("{script} | cat").into_boxed_str());
    let piped: &'static [&'static str] = Box::leak(Box::new([piped, "Enter"]));
    same(
        Outer,
        &steps![
            [Keys(both), Pause(800), Resize(90, 30), See("2>")],
            [Keys(piped), Pause(800), Resize(70, 20), See("3>")],
            line!("stty size", "4>"),
        ],
    )
}

fn outer_quitting() -> Test {
    same(
        Outer,
        &steps![
            line!("ulimit -c 0", "2>"),
            [
                Keys(&["r sleep 100", "Enter"]),
                Pause(600),
                Keys(&["C-\\"]),
                See("3>"),
            ],
            line!("echo $?", "4>"),
            [Keys(&["r sh -c 'kill -SEGV $$'", "Enter"]), See("5>"),],
            line!(
                "echo $?; r sh -c 'exit 42'; echo $?; stty -a | tail -2",
                "6>"
            ),
        ],
    )
}

fn outer_silent_typing() -> Test {
    same(
        Outer,
        &steps![
            [
                Keys(&[
                    "r bash -c 'read -sp \"pass\"\"word: \" x; echo; echo \"<$x>\"'",
                    "Enter"
                ]),
                See("password:"),
                Pause(200),
                Keys(&["secret", "Enter"]),
                See("2>"),
            ],
            line!("stty -a | tail -2", "3>"),
        ],
    )
}
