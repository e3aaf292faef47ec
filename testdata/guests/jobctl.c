/* jobctl: stopping, continuing and waiting, as a shell does it.
 *
 * Stops by SIGSTOP and by SIGTSTP to a group, WUNTRACED, WCONTINUED, waitid in its forms, orphaned groups, sessions.
 * A tracer sees every stop before the parent does; the parent must not notice. */
#include "check.h"

static const char *how(int st) {
    static char buf[40];
    if (st == -1) return "still running";
    if (WIFEXITED(st)) snprintf(buf, sizeof buf, "exited %d", WEXITSTATUS(st));
    else if (WIFSIGNALED(st)) snprintf(buf, sizeof buf, "killed by %s", sigabbrev_np(WTERMSIG(st)));
    else if (WIFSTOPPED(st)) snprintf(buf, sizeof buf, "stopped by %s", sigabbrev_np(WSTOPSIG(st)));
    else if (WIFCONTINUED(st)) snprintf(buf, sizeof buf, "continued");
    else snprintf(buf, sizeof buf, "?? %x", st);
    return buf;
}

static pid_t sleeper(void) {
    pid_t p = fork_clean();
    if (p == 0) for (;;) { struct stat st; stat("/usr", &st); sleep_ms(2); }
    return p;
}

static void wait_says(const char *label, pid_t p, int flags) {
    int st = -1;
    pid_t r = waitpid(p, &st, flags);
    if (r == p) printf("%s: %s\n", label, how(st));
    else fact(label, r);
}

static void stop_and_continue(void) {
    pid_t p = sleeper();
    kill(p, SIGSTOP);
    wait_says("SIGSTOP", p, WUNTRACED);
    wait_says("a stop is reported once", p, WUNTRACED | WNOHANG);
    kill(p, SIGCONT);
    wait_says("SIGCONT", p, WCONTINUED);
    for (int i = 0; i < 20; i++) {
        kill(p, SIGSTOP);
        int st;
        if (waitpid(p, &st, WUNTRACED) != p || !WIFSTOPPED(st)) ok(0, "round %d stops", i);
        kill(p, SIGCONT);
        if (waitpid(p, &st, WCONTINUED) != p || !WIFCONTINUED(st)) ok(0, "round %d continues", i);
    }
    kill(p, SIGSTOP);
    wait_says("stopped again", p, WUNTRACED);
    kill(p, SIGTERM);
    wait_says("SIGTERM waits for SIGCONT", p, WNOHANG | WUNTRACED);
    kill(p, SIGCONT);
    wait_says("then it dies", p, 0);

    p = sleeper();
    kill(p, SIGSTOP);
    wait_says("stopped before SIGKILL", p, WUNTRACED);
    kill(p, SIGKILL);
    wait_says("SIGKILL does not wait", p, 0);

    p = fork_clean();
    if (p == 0) { raise(SIGSTOP); _exit(3); }
    wait_says("raise(SIGSTOP)", p, WUNTRACED);
    kill(p, SIGCONT);
    wait_says("goes on where it was", p, 0);
}

/* A child whose stops are ignored by a parent that waits for its end only. */
static void unnoticed(void) {
    pid_t p = fork_clean();
    if (p == 0) { sleep_ms(150); _exit(4); }
    kill(p, SIGSTOP);
    sleep_ms(20);
    wait_says("without WUNTRACED a stop is not reported", p, WNOHANG);
    kill(p, SIGCONT);
    wait_says("only its end is", p, 0);
}

static volatile sig_atomic_t chld;
static void on_chld(int sig) { (void)sig; chld++; }

static void child_signals(void) {
    struct sigaction sa = {.sa_handler = on_chld};
    sigaction(SIGCHLD, &sa, NULL);
    pid_t p = sleeper();
    kill(p, SIGSTOP);
    wait_says("a stop", p, WUNTRACED);
    sleep_ms(20);
    printf("SIGCHLD after the stop: %d\n", chld > 0);
    chld = 0;
    kill(p, SIGKILL);
    wait_says("the end", p, 0);
    sa.sa_flags = SA_NOCLDSTOP;
    sigaction(SIGCHLD, &sa, NULL);
    p = sleeper();
    chld = 0;
    kill(p, SIGSTOP);
    wait_says("a stop with SA_NOCLDSTOP", p, WUNTRACED);
    sleep_ms(20);
    printf("SIGCHLD after it: %d\n", chld > 0);
    kill(p, SIGKILL);
    wait_says("and its end", p, 0);
    signal(SIGCHLD, SIG_IGN);
    p = fork_clean();
    if (p == 0) _exit(0);
    fact("with SIGCHLD ignored nobody is left to wait for", waitpid(p, NULL, 0));
    signal(SIGCHLD, SIG_DFL);
}

static void info_says(const char *label, int r, siginfo_t *si, pid_t p) {
    if (r < 0) { fact(label, r); return; }
    printf("%s: signo %d code %d status %d pid %s\n", label, si->si_signo, si->si_code, si->si_status,
           si->si_pid == p ? "right" : si->si_pid ? "wrong" : "0");
}

static void waitid_forms(void) {
    siginfo_t si;
    pid_t p = sleeper();
    memset(&si, 0, sizeof si);
    info_says("waitid, nothing yet", waitid(P_PID, p, &si, WEXITED | WNOHANG), &si, p);
    kill(p, SIGSTOP);
    info_says("waitid WSTOPPED WNOWAIT", waitid(P_PID, p, &si, WSTOPPED | WNOWAIT), &si, p);
    info_says("waitid WSTOPPED", waitid(P_PID, p, &si, WSTOPPED), &si, p);
    kill(p, SIGCONT);
    info_says("waitid WCONTINUED", waitid(P_ALL, 0, &si, WCONTINUED), &si, p);
    kill(p, SIGKILL);
    info_says("waitid WEXITED WNOWAIT", waitid(P_PID, p, &si, WEXITED | WNOWAIT), &si, p);
    info_says("waitid WEXITED", waitid(P_PGID, getpgrp(), &si, WEXITED), &si, p);
    info_says("waitid, nobody left", waitid(P_ALL, 0, &si, WEXITED), &si, p);
    info_says("waitid without a kind", waitid(P_ALL, 0, &si, 0), &si, p);
    p = fork_clean();
    if (p == 0) _exit(6);
    info_says("waitid of an exit", waitid(P_PID, p, &si, WEXITED), &si, p);
    p = fork_clean();
    if (p == 0) _exit(7);
    int pidfd = syscall(SYS_pidfd_open, p, 0);
    if (pidfd >= 0) info_says("waitid by pidfd", waitid(3 /* P_PIDFD */, pidfd, &si, WEXITED), &si, p);
    else { fact("pidfd_open", pidfd); waitpid(p, NULL, 0); }
    close(pidfd);
}

/* A group of three stopped and continued as one, like a pipeline by ^Z and fg. */
static void groups(void) {
    pid_t p[3];
    for (int i = 0; i < 3; i++) {
        p[i] = sleeper();
        if (setpgid(p[i], p[0]) < 0) fact("setpgid", -1);
    }
    ok(getpgid(p[2]) == p[0] && getpgid(0) != p[0], "three children in a group of their own");
    fact("SIGTSTP to the group", kill(-p[0], SIGTSTP));
    for (int i = 0; i < 3; i++) wait_says("member", p[i], WUNTRACED);
    kill(-p[0], SIGCONT);
    for (int i = 0; i < 3; i++) wait_says("member", p[i], WCONTINUED);
    kill(-p[0], SIGTERM);
    for (int i = 0; i < 3; i++) wait_says("member", p[i], 0);
    fact("the group is gone", kill(-p[0], 0));
    p[0] = sleeper();
    fact("setpgid into a group that is not there", setpgid(p[0], 999999));
    kill(p[0], SIGKILL);
    waitpid(p[0], NULL, 0);
    fact("setpgid of no child", setpgid(999999, 0));
}

static void orphans(void) {
    int pipefd[2];
    if (pipe(pipefd)) exit(2);
    pid_t p = fork_clean();
    if (p == 0) {
        setsid();
        pid_t inner = fork();
        if (inner == 0) {
            setpgid(0, 0);
            sleep_ms(50);               /* by now the parent has gone: the group is orphaned */
            raise(SIGTSTP);             /* the default action is discarded for an orphaned group */
            char c = 'a';
            if (write(pipefd[1], &c, 1) < 0) _exit(1);
            _exit(0);
        }
        sleep_ms(10);
        _exit(0);
    }
    close(pipefd[1]);
    waitpid(p, NULL, 0);
    char c = '?';
    ok(read(pipefd[0], &c, 1) == 1 && c == 'a', "SIGTSTP does not stop an orphaned group");
    close(pipefd[0]);

    if (pipe(pipefd)) exit(2);
    p = fork_clean();
    if (p == 0) {
        setsid();
        pid_t inner = fork();
        if (inner == 0) {
            setpgid(0, 0);
            signal(SIGHUP, SIG_DFL);
            raise(SIGSTOP);             /* becomes orphaned while stopped: SIGHUP and SIGCONT follow */
            _exit(0);
        }
        int st;
        waitpid(inner, &st, WUNTRACED);
        _exit(0);
    }
    close(pipefd[1]);
    waitpid(p, NULL, 0);
    char buf[1];
    ok(read(pipefd[0], buf, 1) == 0, "a stopped group that becomes orphaned is hung up, not left behind");
    close(pipefd[0]);
}

static void sessions(void) {
    pid_t p = fork_clean();
    if (p == 0) {
        pid_t sid = setsid();
        ok(sid == getpid() && getsid(0) == sid && getpgrp() == sid, "setsid makes a session and a group");
        ok(fails(setsid(), EPERM), "a leader cannot make another");
        ok(fails(setpgid(0, 0), EPERM), "nor leave its group");
        fact_fd("no terminal", open("/dev/tty", O_RDWR));
        fflush(NULL);
        _exit(failures);
    }
    int st;
    waitpid(p, &st, 0);
    ok(st == 0, "session leader");
}

static void default_actions(void) {
    static const int sigs[] = {SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGABRT, SIGFPE, SIGKILL, SIGSEGV, SIGPIPE, SIGALRM, SIGTERM,
                               SIGUSR1, SIGUSR2, SIGBUS, SIGSYS, SIGTRAP, SIGXCPU, SIGVTALRM};
    for (size_t i = 0; i < sizeof sigs / sizeof *sigs; i++) {
        pid_t p = sleeper();
        kill(p, sigs[i]);
        int st = reap(p, 2000);
        printf("%s from outside: %s\n", sigabbrev_np(sigs[i]), how(st & ~0x80));
        p = fork_clean();
        if (p == 0) { raise(sigs[i]); _exit(0); }
        st = reap(p, 2000);
        printf("%s raised: %s\n", sigabbrev_np(sigs[i]), how(st & ~0x80));
    }
    pid_t p = sleeper();
    kill(p, SIGCHLD), kill(p, SIGURG), kill(p, SIGWINCH), kill(p, SIGCONT);
    wait_says("ignored by default", p, WNOHANG);
    kill(p, SIGKILL);
    waitpid(p, NULL, 0);
}

int main(void) {
    stop_and_continue();
    unnoticed();
    child_signals();
    waitid_forms();
    groups();
    orphans();
    sessions();
    default_actions();
    return finish();
}
