/* denied: is refused, in four threads.
 *
 *   denied COUNT REPORT
 *
 * Each thread asks COUNT times for what a policy denies: to write DIR/ro, to list DIR/deny, getrandom(2), sched_yield(2)
 * is not made. One of them uses a new name each time. In between it looks for the report, by every road it knows: it must not be found.
 * Prints what was answered. Then, with a third argument, makes sched_yield(2). */
#include "check.h"
#include <pthread.h>
#include <sys/random.h>
#include <sched.h>
#include <sys/syscall.h>

static long count;
static const char *report;
static long answers[4][4];

static int errno_of(long result) { return result < 0 ? errno : 0; }

static void *ask(void *which) {
    long me = (long)which;
    char name[64];
    for (long i = 0; i < count; i++) {
        if (me == 3) snprintf(name, sizeof name, "ro/n%ld", i);
        else snprintf(name, sizeof name, "ro/\n\033[31mred");
        int fd = open(name, O_WRONLY | O_CREAT, 0600);
        answers[me][0] = errno_of(fd);
        answers[me][1] = errno_of(open("deny", O_RDONLY));
        answers[me][2] = errno_of(syscall(SYS_getrandom, name, 4, 0));
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[4];
    if (argc < 3) return 2;
    count = atol(argv[1]);
    report = argv[2];
    for (long i = 0; i < 4; i++) pthread_create(&threads[i], NULL, ask, (void *)i);
    for (long i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++) printf("%ld %ld %ld\n", answers[i][0], answers[i][1], answers[i][2]);
    printf("report: open %d unlink %d link %d rename %d stat %d\n", errno_of(open(report, O_RDWR)), errno_of(unlink(report)),
           errno_of(link(report, "mine")), errno_of(rename(report, "mine")), errno_of(access(report, F_OK)));
    fflush(stdout);
    if (argc > 3) sched_yield();
    return 7;
}
