/* The second half of pids.c: groups, sessions, terminals, threads, orphans, descriptors, schedules, clocks, restarts. */

static void groups(void) {
    pid_t a = sleeps(), b = sleeps();
    ok(setpgid(a, a) == 0 && see(getpgid(a)) == a, "a child leads a group");
    ok(setpgid(b, a) == 0 && see(getpgid(b)) == a, "another joins it");
    ok(field_of(b, 5) == a && status_of(b, "NSpgid") == a, "/proc tells the group");
    ok(see(getsid(b)) == getsid(0) && field_of(b, 6) == getsid(0), "in the same session");
    ok(fails(setpgid(a, UNUSED_PID), EPERM), "the group of nobody can't be joined");
    ok(fails(setpgid(UNUSED_PID, 0), ESRCH) && fails(setpgid(parent(), 0), ESRCH), "nor can those who are no children join");
    ok(fails(setpgid(a, -1), EINVAL), "setpgid to a number below 0");
    ok(fails(getpgid(UNUSED_PID), ESRCH) && fails(getsid(UNUSED_PID), ESRCH) && fails(getpgid(-1), ESRCH), "getpgid, getsid of nobody");
    ok(kill(-a, 0) == 0 && kill(-a, SIGTERM) == 0, "kill of a group");
    siginfo_t si;
    int st, got = 0;
    for (int i = 0; i < 2; i++) got += see(waitpid(-a, &st, 0)) > 0 && WTERMSIG(st) == SIGTERM;
    ok(got == 2 && fails(kill(-a, 0), ESRCH), "reaches all of it");
    /* of its own leader's number, long after its leader */
    a = exits(0);
    setpgid(a, a);
    b = sleeps();
    ok(setpgid(b, a) == 0 || errno == EACCES || errno == EPERM, "a group whose leader is a zombie");
    int joined = getpgid(b) == a;
    ended(a);
    for (int i = 0; i < 400; i++) ended(exits(0));
    ok(!joined || (see(getpgid(b)) == a && kill(-a, 0) == 0), "a group outlives its leader");
    stops(b);
    /* kill of the own group, and who has done it */
    pid_t p = born(fork_clean());
    if (p == 0) {
        setpgid(0, 0);
        handle(SIGUSR1, 0);
        pid_t q = born(fork_clean());
        if (q == 0) {
            shared->flag[1] = 1;
            _exit(from(parent(), SI_USER) ? 0 : 1);
        }
        while (!shared->flag[1]) sleep_ms(1);
        int right = kill(0, SIGUSR1) == 0 && from(me(), SI_USER) && see(waitpid(q, &st, 0)) == q && st == 0;
        right &= see(getpgid(0)) == me() && getpgid(q) == -1;
        _exit(right ? 0 : 1);
    }
    ok(see(waitpid(p, &st, 0)) == p && st == 0, "kill of the own group");
    /* sessions */
    p = born(fork_clean());
    if (p == 0) {
        ok(see(setsid()) == me() && see(getsid(0)) == me() && see(getpgrp()) == me(), "setsid");
        ok(fails(setsid(), EPERM) && fails(setpgid(0, 0), EPERM), "only once");
        ok(stat_of("self", 6) == me() && stat_of("self", 5) == me() && status_of(me(), "NSsid") == me(), "/proc tells the session");
        pid_t q = born(fork_clean());
        if (q == 0) _exit(see(getsid(0)) == parent() && see(getpgrp()) == parent() ? 0 : 1);
        ok(see(waitpid(q, &st, 0)) == q && st == 0, "a child is in it");
        q = sleeps();
        ok(see(getsid(q)) == me(), "getsid of a child");
        stops(q);
        _exit(finish());
    }
    ok(waitid(P_PID, p, &si, WEXITED) == 0 && see(si.si_pid) == p && si.si_status == 0, "a session ends");
    p = born(fork_clean());
    if (p == 0) { setsid(); for (;;) pause(); }
    while (getsid(p) != p) sleep_ms(1);
    ok(fails(setpgid(p, 0), EPERM) && see(getsid(p)) == p, "a child in another session stays there");
    stops(p);
}

static void terminal(void) {
    int st;
    pid_t p = born(fork_clean());
    if (p == 0) {
        setsid();
        signal(SIGTTOU, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        int master = posix_openpt(O_RDWR | O_NOCTTY), group = -5;
        grantpt(master), unlockpt(master);
        int tty = open(ptsname(master), O_RDWR | O_NOCTTY);
        ok(fails(tcgetpgrp(tty), ENOTTY) && fails(tcgetsid(tty), ENOTTY), "a terminal that isn't ours");
        ok(ioctl(tty, TIOCSCTTY, 0) == 0, "TIOCSCTTY");
        ok(see(tcgetpgrp(tty)) == me() && see(tcgetsid(tty)) == me(), "tcgetpgrp, tcgetsid");
        ok(stat_of("self", 8) == me(), "stat tells the foreground group");
        ok(see(tcgetsid(master)) == me(), "tcgetsid of the master");
        pid_t q = sleeps();
        setpgid(q, q);
        group = q;
        ok(ioctl(tty, TIOCSPGRP, &group) == 0 && group == q && see(tcgetpgrp(tty)) == q, "tcsetpgrp");
        ok(field_of(q, 8) == q && see(tcgetpgrp(master)) == q, "a child is in the foreground");
        ok(write(master, "\003", 1) == 1 && see(waitpid(q, &st, 0)) == q && WTERMSIG(st) == SIGINT, "and gets ^C");
        fact("tcsetpgrp to nobody", tcsetpgrp(tty, UNUSED_PID));
        fact("tcsetpgrp to 0", tcsetpgrp(tty, 0));
        fact("tcsetpgrp below 0", tcsetpgrp(tty, -3));
        group = me();
        ok(tcsetpgrp(tty, group) == 0 && see(tcgetpgrp(tty)) == group, "back to the foreground");
        _exit(finish());
    }
    ok(see(waitpid(p, &st, 0)) == p && st == 0, "a terminal");
}

static pid_t a_tid, b_tid;
static pthread_barrier_t barrier;
static volatile int thread_flag;

static void on_thread_signal(int sig, siginfo_t *si, void *context) {
    (void)sig, (void)context;
    thread_flag = see(si->si_pid) == getpid() ? syscall(SYS_gettid) : -1;
}

static void *thread(void *arg) {
    a_tid = tid();
    ok(a_tid != me() && me() == getpid(), "a thread has its own number");
    ok(see(getppid()) == parent() && see(getpgrp()) == getpgid(me()), "and the process's parent");
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    (void)arg;
    return NULL;
}

static int raw_thread(void *arg) {
    (void)arg;
    __atomic_store_n(&b_tid, (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
    while (!thread_flag) syscall(SYS_sched_yield);
    syscall(SYS_exit, 0);
    return 0;
}

static void *execs(void *arg) {
    char number[16], mine[16];
    snprintf(number, sizeof number, "%d", getpid());
    snprintf(mine, sizeof mine, "%d", getppid());
    execl(self, self, "am", number, mine, NULL);
    (void)arg;
    return NULL;
}

static void *forks(void *arg) {
    long wrong = 0;
    for (int i = 0; i < 40; i++) {
        int fds[2], st;
        pid_t says = 0;
        if (pipe(fds) < 0) return (void *)99L;
        pid_t p = fork();
        if (p == 0) {
            says = syscall(SYS_getpid);
            _exit(write(fds[1], &says, sizeof says) == sizeof says ? i % 100 : 99);
        }
        see(p);
        wrong += read(fds[0], &says, sizeof says) != sizeof says || see(says) != p;
        wrong += see(waitpid(p, &st, 0)) != p || WEXITSTATUS(st) != i % 100;
        close(fds[0]), close(fds[1]);
    }
    (void)arg;
    return (void *)wrong;
}

/* A priority just below that of a process; there is none below 19. */
static int nicer(pid_t p) {
    int is = getpriority(PRIO_PROCESS, p);
    return is < 19 ? is + 1 : is;
}

static void threads(void) {
    pthread_t t;
    char path[64], name[32] = "";
    struct sched_param sp;
    struct rlimit rl;
    struct timespec ts;
    cpu_set_t set;
    clockid_t clock;
    int st;
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&t, NULL, thread, NULL);
    pthread_barrier_wait(&barrier);
    snprintf(path, sizeof path, "/proc/self/task/%d/status", a_tid);
    ok(number_in(path, "Pid") == a_tid && number_in(path, "Tgid") == me() && number_in(path, "NSpid") == a_tid, "a thread's status");
    ok(status_of(a_tid, "Tgid") == me(), "a thread is found below /proc");
    ok(listed("/proc/self/task", a_tid) && !listed("/proc", a_tid), "and listed with its process only");
    struct sigaction sa = {.sa_sigaction = on_thread_signal, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR2, &sa, NULL);
    thread_flag = 0;
    ok(syscall(SYS_tgkill, me(), a_tid, SIGUSR2) == 0, "tgkill of a thread");
    for (int i = 0; !thread_flag && i < 2000; i++) sleep_ms(1);
    ok(see(thread_flag) == a_tid, "reaches it");
    thread_flag = 0;
    ok(pthread_kill(t, SIGUSR2) == 0, "pthread_kill, by the number that the kernel has put into memory");
    for (int i = 0; !thread_flag && i < 2000; i++) sleep_ms(1);
    ok(thread_flag == a_tid, "reaches it, too");
    ok(fails(syscall(SYS_tgkill, a_tid, me(), 0), ESRCH) && fails(syscall(SYS_tgkill, parent(), a_tid, 0), ESRCH), "tgkill of a thread of another");
    ok(fails(syscall(SYS_pidfd_open, a_tid, 0), EINVAL) || errno == ENOENT, "no pidfd of a thread");
    ok(see(getpgid(a_tid)) == getpgrp() && see(getsid(a_tid)) == getsid(0), "getpgid of a thread");
    ok(sched_getaffinity(a_tid, sizeof set, &set) == 0 && sched_setaffinity(a_tid, sizeof set, &set) == 0, "affinity of a thread");
    ok(pthread_getaffinity_np(t, sizeof set, &set) == 0, "the same by pthread_getaffinity_np");
    ok(sched_getscheduler(a_tid) == SCHED_OTHER && sched_getparam(a_tid, &sp) == 0, "scheduler of a thread");
    sp.sched_priority = 0;
    ok(sched_setscheduler(a_tid, SCHED_BATCH, &sp) == 0 && sched_getscheduler(a_tid) == SCHED_BATCH && sched_getscheduler(0) == SCHED_OTHER, "which is its own");
    ok(setpriority(PRIO_PROCESS, a_tid, nicer(0)) == 0 && getpriority(PRIO_PROCESS, a_tid) == nicer(0) && getpriority(PRIO_PROCESS, me()) == getpriority(PRIO_PROCESS, 0), "priority of a thread");
    ok(pthread_setname_np(t, "other") == 0 && pthread_getname_np(t, name, sizeof name) == 0 && !strcmp(name, "other"), "name of a thread");
    ok(pthread_getcpuclockid(t, &clock) == 0 && clock_gettime(clock, &ts) == 0, "clock of a thread");
    ok(clock_gettime(~a_tid * 8 + 6, &ts) == 0 && fails(clock_gettime(~UNUSED_PID * 8 + 6, &ts), EINVAL), "clock of a thread by its number");
    pthread_barrier_wait(&barrier);
    pthread_join(t, NULL);
    for (int i = 0; listed("/proc/self/task", a_tid) && i < 1000; i++) sleep_ms(1);
    ok(fails(syscall(SYS_tkill, a_tid, 0), ESRCH) && fails(syscall(SYS_tgkill, me(), a_tid, 0), ESRCH), "a thread that has ended");
    ok(fails(sched_getscheduler(a_tid), ESRCH) && status_of(a_tid, "Tgid") == -2, "is nobody");
    static char stack[65536] __attribute__((aligned(16)));
    thread_flag = 0;
    pid_t raw = see(clone(raw_thread, stack + sizeof stack, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, NULL));
    for (int i = 0; !__atomic_load_n(&b_tid, __ATOMIC_SEQ_CST) && i < 2000; i++) sleep_ms(1);
    ok(raw > 0 && see(b_tid) == raw, "clone returns the number of a thread");
    thread_flag = 1;
    for (int i = 0; listed("/proc/self/task", raw) && i < 1000; i++) sleep_ms(1);
    ok(prlimit(me(), RLIMIT_NOFILE, NULL, &rl) == 0, "prlimit of oneself");
    /* exec by another thread: it becomes the process */
    for (int i = 0; i < 5; i++) {
        pid_t p = born(fork_clean());
        if (p == 0) { pthread_create(&t, NULL, execs, NULL); for (;;) pause(); }
        ok(see(waitpid(p, &st, 0)) == p && WIFEXITED(st) && WEXITSTATUS(st) == 0, "exec by another thread, %d", i);
    }
    /* a leader that ends before its threads */
    pid_t p = born(fork_clean());
    if (p == 0) { pthread_create(&t, NULL, execs, NULL); pthread_exit(NULL); }
    ok(see(waitpid(p, &st, 0)) == p && WIFEXITED(st) && WEXITSTATUS(st) == 0, "exec without a leader");
    pthread_t some[4];
    long wrong = 0;
    for (int i = 0; i < 4; i++) pthread_create(&some[i], NULL, forks, NULL);
    for (int i = 0; i < 4; i++) { void *r; pthread_join(some[i], &r); wrong += (long)r; }
    ok(wrong == 0, "threads that fork and wait at once: %ld wrong", wrong);
}

static void orphans(void) {
    int st;
    ok(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0, "become a reaper");
    shared->flag[2] = 0;
    pid_t p = born(fork_clean());
    if (p == 0) {
        pid_t q = born(fork_clean());
        if (q == 0) {
            pid_t old = parent();
            shared->flag[6] = 1;
            while (parent() == old) sleep_ms(1);
            shared->pid[4] = parent();
            shared->pid[5] = stat_of("self", 4);
            _exit(6);
        }
        shared->pid[6] = q;
        while (!shared->flag[6]) sleep_ms(1);
        _exit(0);
    }
    ok(ended(p) == p && see(waitpid(-1, &st, 0)) == see(shared->pid[6]) && WEXITSTATUS(st) == 6, "an orphan is waited for by the reaper");
    ok(see(shared->pid[4]) == me() && see(shared->pid[5]) == me(), "and knows it for its parent");
    prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
    p = born(fork_clean());
    if (p == 0) {
        if (born(fork_clean()) == 0) {
            pid_t old = parent();
            shared->flag[2] = 1;
            while (parent() == old) sleep_ms(1);
            shared->pid[4] = parent();
            shared->flag[3] = 1;
            _exit(0);
        }
        while (!shared->flag[2]) sleep_ms(1);
        _exit(0);
    }
    ended(p);
    for (int i = 0; !shared->flag[3] && i < 2000; i++) sleep_ms(1);
    ok(see(shared->pid[4]) > 0 && shared->pid[4] != p && shared->pid[4] != me(), "an orphan has another parent");
    ok(fails(waitpid(-1, NULL, WNOHANG), ECHILD), "and isn't ours");
    /* who is told of a parent's death, and by whom */
    p = born(fork_clean());
    if (p == 0) {
        if (born(fork_clean()) == 0) {
            pid_t old = parent();
            handle(SIGUSR1, 0);
            prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
            shared->flag[4] = 1;
            shared->flag[5] = from(old, SI_USER) ? 1 : 2;
            _exit(0);
        }
        while (!shared->flag[4]) sleep_ms(1);
        _exit(0);
    }
    ended(p);
    for (int i = 0; !shared->flag[5] && i < 3000; i++) sleep_ms(1);
    ok(shared->flag[5] == 1, "a parent's death is told by the parent");
}

static void descriptors(void) {
    struct f_owner_ex owner = {0};
    int sv[2], st;
    socketpair(AF_UNIX, SOCK_STREAM, 0, sv);
    ok(fcntl(sv[0], F_SETOWN, me()) == 0 && see(fcntl(sv[0], F_GETOWN)) == me(), "F_SETOWN to oneself");
    ok(fcntl(sv[0], F_GETOWN_EX, &owner) == 0 && owner.type == F_OWNER_PID && see(owner.pid) == me(), "F_GETOWN_EX");
    ok(see(syscall(SYS_fcntl, sv[0], F_GETOWN)) == me(), "F_GETOWN itself");
    int word = 0;
    ok(ioctl(sv[0], FIOGETOWN, &word) == 0 && see(word) == me(), "FIOGETOWN");
    pid_t p = sleeps();
    setpgid(p, p);
    ok(fcntl(sv[0], F_SETOWN, -p) == 0 && see(fcntl(sv[0], F_GETOWN)) == -p, "F_SETOWN to a group");
    ok(fcntl(sv[0], F_GETOWN_EX, &owner) == 0 && owner.type == F_OWNER_PGRP && see(owner.pid) == p, "F_GETOWN_EX of a group");
    fcntl(sv[0], F_SETFL, O_ASYNC);
    ok(write(sv[1], "x", 1) == 1 && see(waitpid(p, &st, 0)) == p && WTERMSIG(st) == SIGIO, "which gets SIGIO");
    ok(fails(fcntl(sv[0], F_SETOWN, UNUSED_PID), ESRCH) && fails(fcntl(sv[0], F_SETOWN, -UNUSED_PID), ESRCH), "F_SETOWN to nobody");
    ok(fails(syscall(SYS_fcntl, 77, F_GETOWN), EBADF), "F_GETOWN of no descriptor");
    owners_in_memory(sv);
    struct ucred c = {0};
    socklen_t n = sizeof c;
    ok(getsockopt(sv[0], SOL_SOCKET, SO_PEERCRED, &c, &n) == 0 && see(c.pid) == me(), "SO_PEERCRED");
    int file = open("lock", O_RDWR | O_CREAT, 0600);
    struct flock lock = {.l_type = F_WRLCK}, seen;
    fcntl(file, F_SETLK, &lock);
    p = born(fork_clean());
    if (p == 0) {
        seen = lock;
        ok(fcntl(file, F_GETLK, &seen) == 0 && seen.l_type == F_WRLCK && see(seen.l_pid) == parent(), "F_GETLK tells who has it");
        seen = lock;
        ok(fcntl(file, F_OFD_GETLK, &seen) == 0 && see(seen.l_pid) == parent(), "F_OFD_GETLK as well");
        _exit(finish());
    }
    ok(see(waitpid(p, &st, 0)) == p && st == 0, "locks of others");
    seen = lock;
    seen.l_pid = 55;
    ok(fcntl(file, F_GETLK, &seen) == 0 && seen.l_type == F_UNLCK && seen.l_pid == 55, "F_GETLK of the own lock");
    char path[64], line[256], *at = NULL;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", file);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if ((at = strstr(line, "WRITE "))) break;
    ok(at && see(atoi(at + 6)) == me(), "fdinfo tells who has it");
    if (f) fclose(f);
    close(file), close(sv[0]), close(sv[1]);
}

static volatile sig_atomic_t in_thread;
static void on_timer(int sig) { (void)sig; in_thread = syscall(SYS_gettid); }

/* struct pidfd_info of <linux/pidfd.h>, which libc's headers may not have, as of Linux 6.13 and 6.16. */
struct info { uint64_t mask, cgroup; uint32_t pid, tgid, ppid, ids[8]; int32_t exit; uint32_t more[2]; };
enum { GET_INFO_64 = 0xc040ff0b, GET_INFO_72 = 0xc048ff0b, INFO_PID = 1, INFO_CGROUP = 4 };

static void pidfd_info(void) {
    const unsigned commands[] = {GET_INFO_64, GET_INFO_72};
    pid_t p = sleeps();
    int fd = syscall(SYS_pidfd_open, p, 0), own = syscall(SYS_pidfd_open, me(), 0);
    for (int i = 0; i < 2; i++) {
        struct info it = {.mask = INFO_PID | INFO_CGROUP}, of = it;
        long r = fact("PIDFD_GET_INFO", ioctl(fd, commands[i], &it));
        if (r < 0) continue;
        ok(it.mask & INFO_PID && see(it.pid) == p && see(it.tgid) == p && see(it.ppid) == me(), "PIDFD_GET_INFO of a child, %d", i);
        ok(it.ids[0] == getuid() && it.ids[1] == getgid(), "and whose it is, %d", i);
        ok(ioctl(own, commands[i], &of) == 0 && see(of.pid) == me() && see(of.ppid) == parent(), "PIDFD_GET_INFO of oneself, %d", i);
    }
    ok(fails(ioctl(1, GET_INFO_64, &commands), ENOTTY) || errno == EFAULT || errno == EINVAL, "PIDFD_GET_INFO of another file");
    stops(p);
    struct info gone = {.mask = INFO_PID};
    ok(ioctl(fd, GET_INFO_64, &gone) < 0 || see(gone.pid) == 0, "PIDFD_GET_INFO of nobody");
    close(fd), close(own);
}

static void schedules(void) {
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, me()};
    struct __user_cap_data_struct data[2];
    struct timespec ts, pause = {0, 1000000};
    struct sched_param sp;
    struct rlimit rl;
    cpu_set_t set;
    clockid_t clock;
    pid_t p = sleeps();
    ok(syscall(SYS_capget, &head, data) == 0 && syscall(SYS_capset, &head, data) == 0 && head.pid == me(), "capget, capset of oneself");
    head.pid = p;
    ok(syscall(SYS_capget, &head, data) == 0 && fails(syscall(SYS_capset, &head, data), EPERM) && head.pid == p, "of a child");
    head.pid = UNUSED_PID;
    ok(fails(syscall(SYS_capget, &head, data), ESRCH) && head.pid == UNUSED_PID, "capget of nobody");
    ok(sched_getaffinity(p, sizeof set, &set) == 0 && sched_getscheduler(p) == SCHED_OTHER, "a child's schedule");
    ok(sched_getparam(p, &sp) == 0 && sched_setparam(p, &sp) == 0 && sched_rr_get_interval(p, &ts) == 0, "its parameters");
    int nice = nicer(0);
    ok(setpriority(PRIO_PROCESS, p, nice) == 0 && getpriority(PRIO_PROCESS, p) == nice, "its priority");
    setpgid(p, p);
    ok(getpriority(PRIO_PGRP, p) == nice && setpriority(PRIO_PGRP, p, nicer(p)) == 0 && getpriority(PRIO_PROCESS, p) >= nice, "its group's");
    ok(prlimit(p, RLIMIT_NOFILE, NULL, &rl) == 0 && prlimit(p, RLIMIT_NOFILE, &rl, NULL) == 0, "its limits");
    ok(syscall(SYS_ioprio_get, 1, p) >= 0 && syscall(SYS_ioprio_get, 2, p) >= 0, "its I/O priority");
    ok(clock_getcpuclockid(p, &clock) == 0 && clock_gettime(clock, &ts) == 0 && clock_getres(clock, &ts) == 0, "its clock");
    void *head_at;
    size_t len;
    ok(syscall(SYS_get_robust_list, p, &head_at, &len) == 0 || errno == EPERM, "its robust list");
    stops(p);
    ok(fails(sched_getscheduler(p), ESRCH) && fails(prlimit(p, RLIMIT_NOFILE, NULL, &rl), ESRCH), "nobody has a schedule");
    ok(fails(sched_getaffinity(UNUSED_PID, sizeof set, &set), ESRCH) && fails(syscall(SYS_ioprio_get, 1, UNUSED_PID), ESRCH), "nor an affinity");
    ok(fails(getpriority(PRIO_PROCESS, UNUSED_PID), ESRCH) && fails(getpriority(PRIO_PGRP, UNUSED_PID), ESRCH), "nor a priority");
    ok(fails(sched_getscheduler(-1), EINVAL) && fails(sched_getparam(-5, &sp), EINVAL), "numbers below 0");
    ok(clock_getcpuclockid(UNUSED_PID, &clock) == ESRCH, "nor a clock");
    ok(clock_getcpuclockid(me(), &clock) == 0 && clock_gettime(clock, &ts) == 0, "the own clock");
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    event._sigev_un._tid = tid();
    struct itimerspec in = {.it_value = pause};
    timer_t timer;
    signal(SIGUSR1, on_timer);
    in_thread = 0;
    ok(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && event._sigev_un._tid == tid() && timer_settime(timer, 0, &in, NULL) == 0, "a timer for a thread");
    for (int i = 0; !in_thread && i < 2000; i++) sleep_ms(1);
    ok(see(in_thread) == tid() && timer_delete(timer) == 0, "reaches it");
    event._sigev_un._tid = UNUSED_PID;
    ok(fails(timer_create(CLOCK_MONOTONIC, &event, &timer), EINVAL), "a timer for nobody");
}

/* A call by hand, and whether the kernel has left the registers alone. */
static int kept;
static long by_hand(long nr, long a, long b, long c) {
    register long rdi asm("rdi") = a, rsi asm("rsi") = b, rdx asm("rdx") = c;
    register long r10 asm("r10") = nr == SYS_wait4 ? 0 : 0x1010, r8 asm("r8") = 0x8080;
    long rax = nr;
    asm volatile("syscall" : "+a"(rax), "+r"(rdi), "+r"(rsi), "+r"(rdx), "+r"(r10), "+r"(r8) : : "rcx", "r11", "memory");
    kept = rdi == a && rsi == b && rdx == c && r10 == (nr == SYS_wait4 ? 0 : 0x1010) && r8 == 0x8080;
    return rax;
}

static void signal_in(long us, int flags) {
    handle(SIGUSR2, flags);
    pid_t p = born(fork_clean());
    if (p == 0) { usleep(us); kill(parent(), SIGUSR2); _exit(0); }
    shared->pid[7] = p;
}

static void restarts(void) {
    int st = 0;
    pid_t p = sleeps();
    ok(by_hand(SYS_kill, p, 0, 0) == 0 && kept, "kill leaves the registers");
    ok(by_hand(SYS_kill, UNUSED_PID, 0, 0) == -ESRCH && kept, "also if it fails");
    ok(see(by_hand(SYS_getpgid, p, 0, 0)) == getpgid(p) && kept, "getpgid does");
    ok(by_hand(SYS_sched_getscheduler, p, 0, 0) == 0 && kept, "sched_getscheduler does");
    ok(by_hand(SYS_wait4, p, (long)&st, WNOHANG) == 0 && kept, "wait4 does");
    signal_in(20000, 0);
    ok(by_hand(SYS_wait4, p, (long)&st, 0) == -EINTR && kept && see(last.si_pid) == shared->pid[7], "wait4 that is interrupted");
    ended(shared->pid[7]);
    count = 0;
    signal_in(20000, SA_RESTART);
    pid_t q = born(fork_clean());
    if (q == 0) { usleep(60000); kill(p, SIGKILL); _exit(0); }
    ok(see(by_hand(SYS_wait4, p, (long)&st, 0)) == p && kept && WTERMSIG(st) == SIGKILL && count == 1, "wait4 that goes on after a signal");
    ended(shared->pid[7]);
    ended(q);
    p = sleeps();
    ok(by_hand(SYS_kill, p, SIGKILL, 0) == 0 && kept && see(by_hand(SYS_wait4, -1, (long)&st, 0)) == p && kept, "wait4 of any");
    /* stopped and continued while it waits */
    p = born(fork_clean());
    if (p == 0) {
        q = born(fork_clean());
        if (q == 0) { usleep(80000); _exit(7); }
        int right = see(by_hand(SYS_wait4, q, (long)&st, 0)) == q && kept && WEXITSTATUS(st) == 7;
        _exit(right ? 0 : 1);
    }
    usleep(20000);
    kill(p, SIGSTOP);
    waitpid(p, &st, WUNTRACED);
    usleep(20000);
    kill(p, SIGCONT);
    ok(see(waitpid(p, &st, 0)) == p && WIFEXITED(st) && WEXITSTATUS(st) == 0, "wait4 that is stopped and goes on");
}

static void children(void) {
    char path[64], text[256] = "";
    pid_t a = sleeps(), b = sleeps();
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", me(), tid());
    int fd = open(path, O_RDONLY), n = fd < 0 ? -1 : (int)read(fd, text, sizeof text - 1), x = 0, y = 0;
    if (n < 0) ok(errno == ENOENT, "children");
    else ok(sscanf(text, "%d %d", &x, &y) == 2 && see(x) == a && see(y) == b, "children");
    close(fd);
    ok(field_of(a, 4) == me() && status_of(b, "PPid") == me(), "/proc tells the parent of others");
    stops(a), stops(b);
}

static void more(void) {
    groups();
    terminal();
    threads();
    orphans();
    descriptors();
    pidfd_info();
    schedules();
    comparisons();
    own_memory();
    restarts();
    children();
}
