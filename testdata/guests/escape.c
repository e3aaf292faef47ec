/* escape: assorted ways out, each of which must be closed.
 *
 *   escape SBOX_PID OUTSIDE_PID SECRET      SECRET: a file of the host that is not in the view
 *
 * Not for native runs. New namespaces, mounts, tracing, other programs' memory, io_uring, file handles, terminal
 * injection, seccomp listeners, filters that fake the results of calls the supervisor makes us perform, untraced
 * clones, syscall user dispatch, 32-bit calls, inherited descriptors, signals, and values hidden in upper halves. */
#include "check.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <termios.h>

#define refused(r) ((long)(r) == -1 && (errno == EPERM || errno == ENOSYS || errno == EACCES || errno == EINVAL))
#define HIGH (0xdeadULL << 32)

static const char *secret;

static void inherited(void) {
    int open_fds = 0;
    for (int fd = 3; fd < 4096; fd++) open_fds += fcntl(fd, F_GETFD) >= 0;
    ok(open_fds == 0, "no descriptor above 2 is inherited: %d", open_fds);
}

static void namespaces(void) {
    static const struct { int flag; const char *name; } ns[] = {
        {CLONE_NEWUSER, "user"}, {CLONE_NEWNS, "mount"}, {CLONE_NEWPID, "pid"}, {CLONE_NEWNET, "net"}, {CLONE_NEWIPC, "ipc"},
        {CLONE_NEWUTS, "uts"}, {CLONE_NEWCGROUP, "cgroup"}, {0x80, "time"}, {CLONE_NEWUSER | CLONE_NEWNS, "user and mount"}};
    for (size_t i = 0; i < sizeof ns / sizeof *ns; i++) {
        fflush(NULL);
        pid_t p = fork();
        if (p == 0) _exit(unshare(ns[i].flag) == 0);
        int st = 0;
        waitpid(p, &st, 0);
        ok(st == 0, "unshare of a %s namespace is refused", ns[i].name);
        if (ns[i].flag == 0x80) continue;           /* for clone these bits are part of the exit signal */
        fflush(NULL);
        long r = syscall(SYS_clone, (long)ns[i].flag | SIGCHLD, NULL, NULL, NULL, NULL);
        if (r == 0) _exit(0);
        ok(r < 0, "clone into a %s namespace is refused", ns[i].name);
        if (r > 0) waitpid(r, NULL, 0);
    }
    struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, n, cgroup; } ca = {
        .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    long r = syscall(SYS_clone3, &ca, sizeof ca);
    if (r == 0) _exit(0);
    ok(refused(r), "clone3 into a user namespace is refused");
    ok(fails(syscall(SYS_clone3, (void *)8, 64), ENOSYS), "clone3 is ENOSYS whatever its argument, so that libc falls back");
    int fd = open("/proc/self/ns/uts", O_RDONLY);
    ok(refused(setns(fd < 0 ? 0 : fd, 0)) || errno == EBADF, "setns");
    /* on paths that do not exist: if the call got through, the error would be ENOENT, and nothing would happen */
    ok(refused(mount("none", "/absent/place", "tmpfs", 0, NULL)), "mount");
    ok(refused(umount2("/absent/place", MNT_DETACH)), "umount");
    ok(refused(syscall(SYS_pivot_root, "/absent/place", "/absent/place")), "pivot_root");
    ok(refused(chroot("/")), "chroot");
    ok(refused(syscall(SYS_fsopen, "tmpfs", 0)), "fsopen");
    ok(refused(syscall(SYS_open_tree, AT_FDCWD, "/", 1)), "open_tree");
    ok(refused(syscall(SYS_move_mount, AT_FDCWD, "/absent/place", AT_FDCWD, "/absent/place", 0)), "move_mount");
    struct { uint64_t a, b, c, d; } attr = {0};
    ok(refused(syscall(SYS_mount_setattr, AT_FDCWD, "/absent/place", 0, &attr, sizeof attr)), "mount_setattr");
}

static void other_processes(pid_t sbox, pid_t outside) {
    char buf[16];
    struct iovec l = {buf, sizeof buf}, r = {(void *)0x400000, sizeof buf};
    for (int i = 0; i < 2; i++) {
        pid_t p = i ? outside : sbox;
        const char *who = i ? "a process outside" : "sbox";
        ok(syscall(SYS_ptrace, PTRACE_ATTACH, p, 0, 0) < 0, "ptrace attach to %s", who);
        ok(syscall(SYS_ptrace, PTRACE_SEIZE, p, 0, 0) < 0, "ptrace seize of %s", who);
        ok(process_vm_readv(p, &l, 1, &r, 1, 0) < 0, "process_vm_readv of %s", who);
        ok(process_vm_writev(p, &l, 1, &r, 1, 0) < 0, "process_vm_writev of %s", who);
        ok(syscall(SYS_kcmp, getpid(), p, 0, 0, 0) < 0, "kcmp with %s", who);
        ok(syscall(SYS_pidfd_open, p, 0) < 0, "pidfd_open of %s", who);
        ok(syscall(SYS_migrate_pages, p, 0, NULL, NULL) < 0, "migrate_pages of %s", who);
        ok(kill(p, SIGKILL) < 0, "SIGKILL to %s", who);
        /* sbox's own group may be ours too */
        if (getpgrp() != p) ok(kill(-p, SIGKILL) < 0, "SIGKILL to the group of %s", who);
        ok(syscall(SYS_tgkill, p, p, SIGSTOP) < 0, "SIGSTOP to %s", who);
        ok(syscall(SYS_kill, HIGH | (uint32_t)p, SIGKILL) < 0, "SIGKILL to %s, junk in the upper half", who);
    }
    ok(syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0) < 0, "ptrace traceme");
    int p[2];
    if (pipe(p)) exit(2);
    int outsider = fcntl(p[0], F_SETOWN, outside), group = fcntl(p[0], F_SETOWN, -outside);
    ok(outsider < 0 || fcntl(p[0], F_GETOWN) != outside, "F_SETOWN of a process outside");
    ok(group < 0 || fcntl(p[0], F_GETOWN) != -outside, "F_SETOWN of a group outside");
    struct { int type; pid_t pid; } ex = {1, outside};
    ok(fcntl(p[0], 15 /* F_SETOWN_EX */, &ex) < 0, "F_SETOWN_EX of a process outside");
    ex.type = 2;
    ok(fcntl(p[0], 15, &ex) < 0, "F_SETOWN_EX of a group outside");
    ex.pid = sbox;
    ok(fcntl(p[0], 15, &ex) < 0, "F_SETOWN_EX of the group of sbox");
    int sv[2], who = outside;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv)) exit(2);
    ok(ioctl(sv[0], 0x8901 /* FIOSETOWN */, &who) < 0, "FIOSETOWN of a process outside");
    who = -outside;
    ok(ioctl(sv[0], 0x8902 /* SIOCSPGRP */, &who) < 0, "SIOCSPGRP of a group outside");
    close(sv[0]), close(sv[1]);
    close(p[0]), close(p[1]);
}

static volatile sig_atomic_t got_urg;
static void on_urg(int s) { (void)s; got_urg++; }

static void broadcasts(void) {
    struct sigaction sa = {.sa_handler = on_urg};
    sigaction(SIGURG, &sa, NULL);
    pid_t child = fork_clean();
    if (child == 0) { for (;;) pause(); }
    sleep_ms(20);
    /* A signal that is ignored by default; a process outside counts what it gets. Inside: to all of the sandbox, and never an error that means "nobody". */
    int r = kill(-1, SIGURG);
    ok(r == 0 || errno == ESRCH || errno == EPERM, "kill(-1) returns");
    r = kill(0, SIGURG);
    ok(r == 0, "kill(0)");
    ok(got_urg > 0, "kill(0) reaches the sender's own group");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    signal(SIGURG, SIG_DFL);
}

static void kernel_surface(void) {
    char params[200] = "";
    ok(refused(syscall(SYS_io_uring_setup, 4, params)), "io_uring_setup");
    ok(refused(syscall(SYS_bpf, 0, params, sizeof params)), "bpf");
    ok(refused(syscall(SYS_perf_event_open, params, 0, -1, -1, 0)), "perf_event_open");
    ok(refused(syscall(SYS_userfaultfd, 0)), "userfaultfd");
    ok(refused(syscall(SYS_userfaultfd, 1)), "userfaultfd, user mode only");
    ok(refused(syscall(SYS_keyctl, 0, -3, 1, 0, 0)), "keyctl");
    ok(refused(syscall(SYS_add_key, "user", "x", "x", 1, -3)), "add_key");
    struct { unsigned bytes; int type; unsigned char h[128]; } fh = {128, 1, {0}};
    ok(refused(syscall(SYS_open_by_handle_at, AT_FDCWD, &fh, O_RDONLY)), "open_by_handle_at");
    int id;
    ok(syscall(SYS_name_to_handle_at, AT_FDCWD, "/etc/passwd", &fh, &id, 0) < 0, "name_to_handle_at");
    ok(refused(syscall(SYS_fanotify_init, 0, 0)), "fanotify_init");
    ok(refused(syscall(SYS_init_module, params, sizeof params, "")), "init_module");
    ok(refused(syscall(SYS_kexec_load, 0, 0, NULL, 0)), "kexec_load");
    ok(refused(syscall(SYS_iopl, 3)), "iopl");
    ok(refused(syscall(SYS_swapoff, "/swap")) , "swapoff");
    ok(refused(syscall(SYS_quotactl, 0, "/dev/null", 0, NULL)), "quotactl");
    ok(refused(syscall(SYS_syslog, 3, params, sizeof params)), "syslog");
    ok(refused(syscall(SYS_process_madvise, -1, NULL, 0, 0, 0)) || errno == EBADF, "process_madvise");
    ok(refused(syscall(SYS_memfd_secret, 0)), "memfd_secret");
    int q = open("/dev/kmsg", O_RDONLY), m = open("/dev/mem", O_RDONLY);
    ok(q < 0 && m < 0, "no kernel devices");
    ok(syscall(SYS_mknod, "/tmp/disk", S_IFBLK | 0600, 0x801) < 0, "no block device can be made");
    ok(syscall(SYS_mknod, "/tmp/mem", S_IFCHR | 0600, 0x101) < 0, "nor a character device");
    ok(open("/proc/kcore", O_RDONLY) < 0 && open("/proc/sysrq-trigger", O_WRONLY) < 0, "no kcore, no sysrq-trigger");
    ok(open("/proc/sys/kernel/core_pattern", O_WRONLY) < 0, "core_pattern cannot be written");
    static const int families[] = {AF_INET, AF_INET6, AF_PACKET, AF_NETLINK, AF_VSOCK, AF_ALG, AF_BLUETOOTH, AF_KEY, AF_XDP};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        int a = socket(families[i], SOCK_STREAM, 0), b = socket(families[i], SOCK_RAW, 0), c = socket(families[i], SOCK_DGRAM, 0);
        ok(a < 0 && b < 0 && c < 0, "no socket of family %d", families[i]);
    }
}

static void terminal(void) {
    int m = posix_openpt(O_RDWR | O_NOCTTY);
    if (m < 0 || grantpt(m) || unlockpt(m)) { fact("no pseudo terminal", -1); return; }
    int s = open(ptsname(m), O_RDWR | O_NOCTTY);
    ok(s >= 0, "a pseudo terminal");
    ok(refused(ioctl(s, TIOCSTI, "x")) , "TIOCSTI");
    ok(refused(syscall(SYS_ioctl, s, HIGH | TIOCSTI, "x")), "TIOCSTI, junk in the upper half");
    char eleven[] = {11, 0, 0};
    ok(refused(ioctl(s, TIOCLINUX, eleven)) || errno == ENOTTY, "TIOCLINUX");
    ok(refused(syscall(SYS_ioctl, s, HIGH | TIOCLINUX, eleven)) || errno == ENOTTY, "TIOCLINUX, junk in the upper half");
    close(m), close(s);
}

static int add_filter(struct sock_filter *f, unsigned short n, unsigned flags) {
    struct sock_fprog prog = {n, f};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

/* The given call "succeeds" with this errno (0 included) for the children of this process and itself. */
static int fake(int nr, int err) {
    struct sock_filter f[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    return add_filter(f, 4, 0);
}

static void own_filters(const char *self) {
    struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &(struct sock_fprog){1, allow});
    ok(r < 0 && (errno == EBUSY || errno == EPERM || errno == ENOSYS || errno == EINVAL), "a second seccomp listener");
    static const struct { int nr; const char *name; } faked[] = {
        {SYS_openat, "openat"}, {SYS_openat2, "openat2"}, {SYS_execveat, "execveat"}, {SYS_execve, "execve"}, {SYS_mmap, "mmap"},
        {SYS_mprotect, "mprotect"}, {SYS_close, "close"}, {SYS_prctl, "prctl"}, {SYS_getpid, "getpid"}, {SYS_ioctl, "ioctl"},
        {SYS_kill, "kill"}, {SYS_dup2, "dup2"}, {SYS_munmap, "munmap"}, {SYS_fcntl, "fcntl"}, {462 /* mseal */, "mseal"}};
    for (size_t i = 0; i < sizeof faked / sizeof *faked; i++) {
        pid_t p = fork_clean();
        if (p == 0) {
            if (fake(faked[i].nr, 0) < 0) _exit(0);             /* own filters refused altogether: fine */
            int fd = syscall(SYS_open, "/etc/shadow-not-there", O_RDONLY);
            if (fd >= 0) _exit(1);
            struct stat st;
            if (faked[i].nr != SYS_openat && syscall(SYS_stat, secret, &st) == 0) _exit(2);
            char *argv[] = {(char *)self, "after-fake", (char *)secret, NULL};
            execve(self, argv, (char *[]){NULL});
            _exit(0);
        }
        int st = reap(p, 5000);
        if (st == -1) { kill(p, SIGKILL); reap(p, 1000); }
        /* dying is fine (the new program cannot even load); reaching what is closed, or hanging, is not */
        ok(st != -1 && (WIFSIGNALED(st) || WEXITSTATUS(st) == 0 || WEXITSTATUS(st) == 127), "a filter that fakes %s gains nothing: %x", faked[i].name, st);
    }
    struct sock_filter trace[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | 0x1234)};
    pid_t p = fork_clean();
    if (p == 0) {
        if (add_filter(trace, 1, 0) < 0) _exit(0);
        int fd = syscall(SYS_open, "/etc/passwd", O_RDONLY);
        _exit(fd >= 0 && syscall(SYS_unshare, CLONE_NEWUSER) == 0);
    }
    int st = reap(p, 5000);
    if (st == -1) { kill(p, SIGKILL); reap(p, 1000); }
    ok(st != -1 && (WIFSIGNALED(st) || st == 0), "a filter that asks the tracer for everything gains nothing: %x", st);
}

/* What a child can still do after each of these. Exit 0: it is still inside. */
static int still_inside(void) {
    struct stat st;
    if (stat(secret, &st) == 0) return 1;
    if (stat("/proc/1/root/etc", &st) == 0) return 2;
    int fd = open("/etc/passwd", O_RDONLY);
    if (fd < 0) return 3;
    close(fd);
    if (open("/usr/escape-test", O_CREAT | O_WRONLY, 0600) >= 0) return 4;
    if (socket(AF_INET, SOCK_STREAM, 0) >= 0) return 5;
    return 0;
}

static void untraced(void) {
    static const struct { unsigned long flags; const char *name; } forms[] = {
        {CLONE_UNTRACED, "CLONE_UNTRACED"}, {CLONE_PTRACE, "CLONE_PTRACE"}, {CLONE_PARENT, "CLONE_PARENT"},
        {CLONE_UNTRACED | HIGH, "CLONE_UNTRACED and junk above"}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        int pfd[2];
        if (pipe(pfd)) exit(2);
        fflush(NULL);
        long r = syscall(SYS_clone, forms[i].flags | SIGCHLD, NULL, NULL, NULL, NULL);
        if (r == 0) {
            int code = still_inside();
            if (!code) {
                /* and an exec from there is under control too */
                char *argv[] = {"sh", "-c", "test ! -e \"$0\" && exec printf i", (char *)secret, NULL};
                dup2(pfd[1], 1);
                execve("/bin/sh", argv, (char *[]){NULL});
            }
            _exit(code ? code : 9);
        }
        close(pfd[1]);
        char c = 0;
        if (r > 0) {
            ok(read(pfd[0], &c, 1) == 1 && c == 'i', "a child by %s is inside", forms[i].name);
            waitpid(r, NULL, __WALL);
        } else {
            ok(refused(r), "clone with %s is refused", forms[i].name);
        }
        close(pfd[0]);
    }
}

static void protections(void) {
    pid_t p = fork_clean();
    if (p == 0) {
        prctl(PR_SET_DUMPABLE, 0);
        _exit(still_inside());
    }
    int st = reap(p, 5000);
    ok(st == 0, "not dumpable: path calls still work, and are still answered by sbox: %x", st);
    p = fork_clean();
    if (p == 0) {
        char selector = 1;
        long r = prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH */, 1, 0, 0, &selector);
        char c = r == 0;
        selector = 0;
        _exit(c);
    }
    st = reap(p, 5000);
    ok(st == 0, "syscall user dispatch is refused: %x", st);
    char map[200] = "";
    ok(prctl(35 /* PR_SET_MM */, 14, map, sizeof map, 0) < 0, "PR_SET_MM");
    p = fork_clean();
    if (p == 0) {
        for (int fd = 0; fd < 4096; fd++) if (fd != 1) close(fd);
        struct rlimit few = {1, 1};
        setrlimit(RLIMIT_NOFILE, &few);
        int code = still_inside();
        _exit(code == 3 ? 0 : code);
    }
    st = reap(p, 5000);
    ok(st == 0, "no descriptors left: %x", st);
}

static long int80(long nr, long a, long b, long c) {
    long ret;
    __asm__ volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(a), "c"(b), "d"(c) : "r8", "r9", "r10", "r11", "memory");
    return ret;
}

static void other_gates(void) {
    char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    strcpy(low, "/etc/passwd");
    pid_t p = fork_clean();
    if (p == 0) {
        if (int80(5, (long)low, O_RDONLY, 0) != -ENOSYS) _exit(1);              /* open */
        if (int80(102, 1, (long)low, 0) != -ENOSYS) _exit(2);                   /* socketcall */
        if (int80(20, 0, 0, 0) != -ENOSYS) _exit(3);                            /* getpid */
        _exit(0);
    }
    int st = reap(p, 5000);
    ok(st == 0 || (WIFSIGNALED(st) && WTERMSIG(st) == SIGSEGV), "int 0x80 is ENOSYS: %x", st);
    ok(fails(syscall(0x40000000 | SYS_open, low, O_RDONLY), ENOSYS), "x32 open is ENOSYS");
    ok(fails(syscall(0x40000000 | 520, low, NULL, NULL), ENOSYS), "x32 execve is ENOSYS");
    ok(fails(syscall(100000), ENOSYS) && fails(syscall(-1), ENOSYS), "numbers nobody has are ENOSYS");
}

static void upper_halves(void) {
    ok(syscall(SYS_socket, HIGH | AF_INET, SOCK_STREAM, 0) < 0, "socket family with junk above");
    ok(syscall(SYS_socket, AF_UNIX, HIGH | SOCK_PACKET, 0) < 0, "socket type with junk above");
    /* the mode of the file comes before the mount, as in the kernel */
    int refused = geteuid() ? EACCES : EROFS;
    ok(fails(syscall(SYS_openat, HIGH | (uint32_t)AT_FDCWD, "/usr/bin/env", HIGH | O_RDWR), refused), "openat for writing with junk above");
    ok(syscall(SYS_unshare, HIGH | CLONE_NEWUSER) < 0, "unshare with junk above");
    ok(syscall(SYS_prctl, HIGH | 59, 1, 0, 0, 0) < 0, "syscall user dispatch with junk above");
    int fd = open("/usr/bin/env", O_RDONLY);
    ok(syscall(SYS_fchmod, HIGH | fd, 0755) < 0, "fchmod with junk above the descriptor");
    ok(syscall(SYS_ftruncate, HIGH | fd, 0) < 0, "ftruncate with junk above");
    ok(syscall(SYS_fcntl, HIGH | fd, HIGH | F_SETOWN, HIGH | 1) < 0 || fcntl(fd, F_GETOWN) != 1, "F_SETOWN with junk above");
    int pty = posix_openpt(O_RDWR | O_NOCTTY);
    if (pty >= 0) ok(syscall(SYS_ioctl, HIGH | pty, HIGH | 0x5412, "x") < 0, "TIOCSTI with junk above both");
    int flags = 0x80;
    ok(syscall(SYS_ioctl, HIGH | fd, HIGH | 0x40086602, &flags) < 0, "FS_IOC_SETFLAGS with junk above both");
    close(fd), close(pty);
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "after-fake")) { secret = argv[2]; return still_inside(); }
    if (argc < 4) { fprintf(stderr, "usage: escape SBOX_PID OUTSIDE_PID SECRET\n"); return 2; }
    secret = argv[3];
    inherited();
    namespaces();
    other_processes(atoi(argv[1]), atoi(argv[2]));
    broadcasts();
    kernel_surface();
    terminal();
    untraced();
    protections();
    other_gates();
    upper_halves();
    own_filters(argv[0]);
    ok(still_inside() == 0, "still inside at the end");
    return finish();
}
