/* trapped: a filter of the program's own that makes signals of calls (seccomp(2), SECCOMP_RET_TRAP), as those sandboxes have that
 * answer calls themselves. The handler finds the call as it was made, and its answer is the call's. */
#include "check.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <ucontext.h>

static volatile struct { int count, call; long long rax, rdi, rsi; } last;
static long answer;

static void on_trap(int signal, siginfo_t *info, void *context) {
    (void)signal;
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    last.count++;
    last.call = info->si_syscall;
    last.rax = regs[REG_RAX], last.rdi = regs[REG_RDI], last.rsi = regs[REG_RSI];
    regs[REG_RAX] = answer;
}

/* Makes a signal of a call if its argument (0 if the first is not asked for) is none of those that are let through. */
static void trap(int call, int by_argument, unsigned pass) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, pass, (unsigned char)by_argument, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {sizeof code / sizeof *code, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    ok(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == 0, "a filter");
}

/* In a process of its own: filters stay. */
static void trapped(const char *name, int call, long a, long b, int by_argument, unsigned pass) {
    pid_t p = fork_clean();
    if (!p) {
        failures = 0;
        trap(call, by_argument, pass);
        answer = 4711;
        long r = syscall(call, a, b, 0, 0, 0, 0);
        ok(last.count == 1 && last.call == call, "%s: one signal, for this call", name);
        ok(last.rax == call && last.rdi == a && last.rsi == b, "%s: the registers are the caller's", name);
        ok(r == 4711, "%s: the handler's answer is the call's", name);
        exit(failures != 0);
    }
    int status = reap(p, 20000);
    ok(status == 0, "%s: as it should be", name);
}

int main(void) {
    struct sigaction act = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    sigaction(SIGSYS, &act, NULL);
    trapped("wait4", SYS_wait4, -1, 0, 0, 0);
    trapped("getpid", SYS_getpid, 0, 0, 0, 0);
    trapped("kill", SYS_kill, getpid(), 0, 0, 0);
    trapped("fork", SYS_fork, 0, 0, 0, 0);
    trapped("setsid", SYS_setsid, 0, 0, 0, 0);
    /* A child's number is let through, which is another where the view has its own: judged again, the call is trapped. */
    pid_t p = fork_clean();
    if (!p) {
        failures = 0;
        int status, child = fork_clean();
        if (!child) _exit(7);
        trap(SYS_wait4, 1, (unsigned)child);
        answer = -EPERM;
        long r = syscall(SYS_wait4, child, &status, 0, NULL);
        note("waited for: %ld, trapped %d times", r, last.count);
        ok(r == child || (r == -1 && errno == EPERM && last.rax == SYS_wait4 && last.rdi == child), "wait4 of the one let through");
        exit(failures != 0);
    }
    ok(reap(p, 20000) == 0, "by argument");
    return finish();
}
