/* Part of pids.c: what two tasks share, memory looked at by number, and owners that are named in memory. */

/* What two tasks share: kcmp(2), whose kinds <linux/kcmp.h> has. */
enum { SAME_FILE, SAME_VM, SAME_FILES, SAME_FS, SAME_HANDLERS, SAME_IO, SAME_UNDO, SAME_EPOLL };

static long same(pid_t a, pid_t b, int kind, long i, long j) {
    long order = syscall(SYS_kcmp, a, b, kind, i, j);
    return order == 1 || order == 2 ? 1 : order; /* which comes first is chance */
}

static int forever(void *arg) {
    for (;;) pause();
    return arg != NULL;
}

static void comparisons(void) {
    if (fact("kcmp of oneself", same(me(), me(), SAME_VM, 0, 0)) == -1 && errno == ENOSYS) return;
    static char stack[4][16384] __attribute__((aligned(16)));
    int fds[2], st, copy, epoll = epoll_create1(0);
    if (pipe(fds)) exit(2);
    copy = dup(fds[0]);
    pid_t p = sleeps(), q = born(clone(forever, stack + 2, CLONE_FILES | CLONE_FS | SIGCHLD, NULL));
    ok(same(me(), me(), SAME_FILE, fds[0], copy) == 0 && same(me(), me(), SAME_FILE, fds[0], fds[1]) == 1, "kcmp tells one open file");
    ok(same(me(), p, SAME_FILE, fds[0], fds[0]) == 0 && same(p, me(), SAME_FILE, fds[1], fds[0]) == 1, "and that a child has it too");
    ok(fails(same(me(), p, SAME_FILE, 99, 0), EBADF) && fails(same(me(), me(), 99, 0, 0), EINVAL), "kcmp of no descriptor, of no kind");
    ok(same(me(), p, SAME_VM, 0, 0) == 1 && same(me(), q, SAME_VM, 0, 0) == 1, "kcmp of memory");
    ok(same(me(), p, SAME_FILES, 0, 0) == 1 && same(me(), q, SAME_FILES, 0, 0) == 0, "kcmp of tables of descriptors");
    ok(same(me(), p, SAME_FS, 0, 0) == 1 && same(q, me(), SAME_FS, 0, 0) == 0 && same(me(), q, SAME_HANDLERS, 0, 0) == 1, "kcmp of directories, of handlers");
    struct epoll_event in = {.events = EPOLLIN};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fds[0], &in);
    struct { uint32_t efd, tfd, toff; } slot = {epoll, fds[0], 0};
    fact("kcmp of what epoll waits for", same(me(), me(), SAME_EPOLL, fds[0], (long)&slot));
    fact("kcmp of another", same(me(), p, SAME_EPOLL, fds[1], (long)&slot));
    fact("kcmp without a slot", same(me(), me(), SAME_EPOLL, fds[0], 8));
    ok(fails(same(me(), UNUSED_PID, SAME_VM, 0, 0), ESRCH) && fails(same(0, me(), SAME_VM, 0, 0), ESRCH), "kcmp of nobody");
    stops(p);
    ok(fails(same(p, me(), SAME_VM, 0, 0), ESRCH), "nor of one that has ended");
    stops(q), (void)st;
    close(fds[0]), close(fds[1]), close(copy), close(epoll);
}

/* process_vm_readv(2) and process_vm_writev(2) of the caller, by which memory is looked at that may not be there. */
static void own_memory(void) {
    char from[] = "abcdefgh", to[8] = "";
    struct iovec here = {to, 8}, there = {from, 8}, nowhere = {(void *)8, 8}, two[2] = {{from, 4}, {(void *)8, 4}};
    ok(process_vm_readv(me(), &here, 1, &there, 1, 0) == 8 && !memcmp(from, to, 8), "process_vm_readv of oneself");
    ok(process_vm_readv(tid(), &here, 1, &there, 1, 0) == 8 && process_vm_writev(me(), &there, 1, &here, 1, 0) == 8, "by a thread's number, and back");
    ok(fails(process_vm_readv(me(), &here, 1, &nowhere, 1, 0), EFAULT), "where nothing is");
    fact("in part", process_vm_readv(me(), &here, 1, two, 2, 0));
    ok(fails(process_vm_readv(me(), &here, 1, &there, 1, 5), EINVAL) && fails(process_vm_readv(UNUSED_PID, &here, 1, &there, 1, 0), ESRCH), "process_vm_readv with flags, of nobody");
    ok(fails(process_vm_writev(-1, &here, 1, &there, 1, 0), ESRCH) && fails(process_vm_writev(0, &here, 1, &there, 1, 0), ESRCH), "process_vm_writev of no number");
}

/* Who gets SIGIO, where the number is in memory. */
static void owners_in_memory(const int sv[2]) {
    struct f_owner_ex owner = {F_OWNER_TID, tid()}, seen;
    int st, word;
    ok(fcntl(sv[0], F_SETOWN_EX, &owner) == 0 && fcntl(sv[0], F_GETOWN_EX, &seen) == 0 && seen.type == F_OWNER_TID && see(seen.pid) == tid(), "F_SETOWN_EX to a thread");
    pid_t p = sleeps();
    setpgid(p, p);
    owner = (struct f_owner_ex){F_OWNER_PGRP, p};
    ok(fcntl(sv[0], F_SETOWN_EX, &owner) == 0 && owner.pid == p && see(fcntl(sv[0], F_GETOWN)) == -p, "F_SETOWN_EX to a group");
    owner = (struct f_owner_ex){F_OWNER_PID, UNUSED_PID};
    ok(fails(fcntl(sv[0], F_SETOWN_EX, &owner), ESRCH) && see(fcntl(sv[0], F_GETOWN)) == -p, "F_SETOWN_EX to nobody changes nothing");
    owner = (struct f_owner_ex){F_OWNER_PID, -p};
    ok(fails(fcntl(sv[0], F_SETOWN_EX, &owner), ESRCH), "F_SETOWN_EX below 0");
    owner = (struct f_owner_ex){7, p};
    ok(fails(fcntl(sv[0], F_SETOWN_EX, &owner), EINVAL) && fails(fcntl(sv[0], F_SETOWN_EX, 8), EFAULT) && fails(fcntl(77, F_SETOWN_EX, &owner), EBADF), "F_SETOWN_EX of no kind, from nowhere, of no descriptor");
    owner = (struct f_owner_ex){F_OWNER_PID, p};
    ok(fcntl(sv[0], F_SETOWN_EX, &owner) == 0, "F_SETOWN_EX to a child");
    fcntl(sv[0], F_SETFL, O_ASYNC);
    ok(write(sv[1], "x", 1) == 1 && see(waitpid(p, &st, 0)) == p && WTERMSIG(st) == SIGIO, "which gets SIGIO then");
    fcntl(sv[0], F_SETFL, 0);
    p = sleeps();
    setpgid(p, p);
    word = -p;
    ok(ioctl(sv[0], FIOSETOWN, &word) == 0 && word == -p && see(fcntl(sv[0], F_GETOWN)) == -p, "FIOSETOWN to a group");
    word = p;
    ok(ioctl(sv[0], SIOCSPGRP, &word) == 0 && see(fcntl(sv[0], F_GETOWN)) == p, "SIOCSPGRP to a process");
    word = UNUSED_PID;
    ok(fails(ioctl(sv[0], FIOSETOWN, &word), ESRCH) && fails(ioctl(sv[0], SIOCSPGRP, 8), EFAULT) && fails(ioctl(77, FIOSETOWN, &word), EBADF), "FIOSETOWN to nobody, from nowhere, of no descriptor");
    word = INT_MIN;
    ok(fails(ioctl(sv[0], FIOSETOWN, &word), EINVAL) && fails(ioctl(1, FIOSETOWN, &word), ENOTTY), "FIOSETOWN to no number, of what is no socket");
    owner = (struct f_owner_ex){F_OWNER_PID, 0};
    ok(fcntl(sv[0], F_SETOWN_EX, &owner) == 0 && see(fcntl(sv[0], F_GETOWN)) == 0, "F_SETOWN_EX to nobody at all");
    stops(p);
}
