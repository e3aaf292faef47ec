/* attack_group_nice: renices the process group, in which sbox and its caller are. Must fail. */
#include "check.h"
#include <sys/resource.h>

enum { IOPRIO_WHO_PGRP = 2, IOPRIO_WHO_USER = 3, IDLE_CLASS = 3 << 13 };

int main(void) {
    ok(setpriority(PRIO_PGRP, 0, 19) < 0, "setpriority of the group");
    ok(setpriority(PRIO_PGRP, getpgrp(), 19) < 0, "setpriority of the group by its number");
    ok(syscall(SYS_ioprio_set, IOPRIO_WHO_PGRP, 0, IDLE_CLASS) < 0, "ioprio_set of the group");
    ok(setpriority(PRIO_USER, 0, 19) < 0 && errno == EPERM, "setpriority of all of the user's");
    ok(syscall(SYS_ioprio_set, IOPRIO_WHO_USER, 0, IDLE_CLASS) < 0 && errno == EPERM, "ioprio_set of all of the user's");
    /* Asking is allowed, as of 0. */
    errno = 0;
    ok((getpriority(PRIO_PGRP, getpgrp()) != -1 || errno == 0) && getpriority(PRIO_PGRP, getpgrp()) == getpriority(PRIO_PGRP, 0), "getpriority");
    ok(syscall(SYS_ioprio_get, IOPRIO_WHO_PGRP, getpgrp()) >= 0, "ioprio_get");
    return finish();
}
