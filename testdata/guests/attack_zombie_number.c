/* attack_zombie_number: changes a process by the number of one that has ended. While the call is under way, its parent can reap it, and
 * whoever is born next outside may get the number: so nothing may be changed by it, whatever page faults the call waits for. */
#include "check.h"
#include <linux/ioprio.h>
#include <sched.h>
#include <sys/resource.h>

int main(void) {
    struct rlimit limit;
    struct sched_param none = { 0 };
    struct { uint32_t size, policy; uint64_t flags; int32_t nice; uint32_t priority; uint64_t rest[3]; } attr = { 48, 0, 0, 0, 0, { 0 } };
    cpu_set_t cpus;
    int pipes[2], nice = getpriority(PRIO_PROCESS, 0);

    getrlimit(RLIMIT_CORE, &limit);
    sched_getaffinity(0, sizeof cpus, &cpus);
    if (pipe(pipes) != 0) return 2;
    pid_t child = fork();
    if (child == 0) {
        char c;
        close(pipes[1]);
        _exit(read(pipes[0], &c, 1) != 0);
    }
    /* While it lives all of that is allowed. */
    ok(prlimit(child, RLIMIT_CORE, &limit, NULL) == 0, "limits of a living child");
    ok(setpriority(PRIO_PROCESS, child, nice) == 0 && getpriority(PRIO_PROCESS, child) == nice, "its priority");
    ok(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, child, 3 << 13) == 0, "its I/O priority");
    ok(sched_setparam(child, &none) == 0, "its parameters");
    ok(sched_setscheduler(child, SCHED_BATCH, &none) == 0 && sched_getscheduler(child) == SCHED_BATCH, "its scheduler");
    ok(syscall(SYS_sched_setattr, child, &attr, 0) == 0 || errno == EPERM, "its attributes");
    ok(sched_setaffinity(child, sizeof cpus, &cpus) == 0, "its CPUs");

    close(pipes[1]);
    siginfo_t info;
    waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT);
    ok(fails(prlimit(child, RLIMIT_CORE, &limit, NULL), ESRCH), "limits of one that has ended");
    ok(fails(prlimit(child, RLIMIT_CORE, NULL, &limit), ESRCH), "and to read them");
    ok(fails(setpriority(PRIO_PROCESS, child, nice), ESRCH), "its priority, then");
    ok(fails(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, child, 2 << 13), ESRCH), "its I/O priority, then");
    ok(fails(sched_setparam(child, &none), ESRCH), "its parameters, then");
    ok(fails(sched_setscheduler(child, SCHED_OTHER, &none), ESRCH), "its scheduler, then");
    ok(fails(syscall(SYS_sched_setattr, child, &attr, 0), ESRCH), "its attributes, then");
    ok(fails(sched_setaffinity(child, sizeof cpus, &cpus), ESRCH), "its CPUs, then");
    waitpid(child, NULL, 0);
    return finish();
}
