/* cpus: which CPUs a program is told it has, and that it really has them.
 *
 * sbox keeps a lone guest on one CPU. It must not be told so, and as soon as two want to run, they must. */
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

/* As long as a machine may be busy with other things. */
#define PATIENCE 60

static void show(const char *name, pid_t who) {
    cpu_set_t set;
    CPU_ZERO(&set);
    long n = sched_getaffinity(who, sizeof set, &set);
    fact(name, n);
    if (n < 0) return;
    printf("%s:", name);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set)) printf(" %d", cpu);
    putchar('\n');
    fflush(stdout);
}

static void *in_thread(void *unused) {
    (void)unused;
    show("thread", 0);
    show("the leader, by number", getpid());
    return NULL;
}

static void in_child(const char *name) {
    pid_t child = fork();
    if (child == 0) {
        show(name, 0);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

/* The kernel's own answers: lengths and errors. */
static void raw(void) {
    char mask[4096];
    memset(mask, 'x', sizeof mask);
    fact("length of 128", syscall(SYS_sched_getaffinity, 0, 128, mask));
    fact("length of 4096", syscall(SYS_sched_getaffinity, 0, 4096, mask));
    ok(mask[4095] == 'x', "no more is written than was told");
    fact("no room", syscall(SYS_sched_getaffinity, 0, 0, mask));
    fact("half a word", syscall(SYS_sched_getaffinity, 0, 12, mask));
    fact("much room, and half a word", syscall(SYS_sched_getaffinity, 0, (1 << 20) + 4, mask));
    for (int bit = 20; bit < 34; bit++) {
        fact("a power of two of room", syscall(SYS_sched_getaffinity, 0, 1ul << bit, mask));
        fact("and a word", syscall(SYS_sched_getaffinity, 0, (1ul << bit) + 8, mask));
    }
    fact("nowhere", syscall(SYS_sched_getaffinity, 0, 128, NULL));
    fact("nobody", syscall(SYS_sched_getaffinity, 0x7ffffff0, 128, mask));
    fact("a negative number", syscall(SYS_sched_getaffinity, -1, 128, mask));
    fact("set from nowhere", syscall(SYS_sched_setaffinity, 0, 128, NULL));
    fact("set of nobody", syscall(SYS_sched_setaffinity, 0x7ffffff0, 128, mask));
}

/* Two that want to run at a time are seen on two CPUs. */
static void both_run(void) {
    struct { volatile int cpu[2]; volatile int stop; } *shared =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    time_t end = time(NULL) + PATIENCE;
    int apart = 0;
    pid_t child[2];

    shared->cpu[0] = shared->cpu[1] = -1;
    for (int i = 0; i < 2; i++) {
        child[i] = fork();
        if (child[i] == 0) {
            while (!shared->stop) shared->cpu[i] = sched_getcpu();
            _exit(0);
        }
    }
    while (!apart && time(NULL) < end) {
        usleep(1000);
        int a = shared->cpu[0], b = shared->cpu[1];
        apart = a >= 0 && b >= 0 && a != b;
    }
    shared->stop = 1;
    waitpid(child[0], NULL, 0);
    waitpid(child[1], NULL, 0);
    ok(apart, "two busy processes have two CPUs");
}

static void *spin(void *on) {
    volatile int *cpu = on;
    while (cpu[1] == 0) cpu[0] = sched_getcpu();
    return NULL;
}

static void threads_run(void) {
    int first[2] = { -1, 0 }, second[2] = { -1, 0 };
    time_t end = time(NULL) + PATIENCE;
    pthread_t a, b;
    int apart = 0;

    pthread_create(&a, NULL, spin, first);
    pthread_create(&b, NULL, spin, second);
    while (!apart && time(NULL) < end) {
        usleep(1000);
        int x = ((volatile int *)first)[0], y = ((volatile int *)second)[0];
        apart = x >= 0 && y >= 0 && x != y;
    }
    ((volatile int *)first)[1] = ((volatile int *)second)[1] = 1;
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    ok(apart, "two busy threads have two CPUs");
}

/* What a program chooses for itself holds, for its children, too, and for nobody else. */
static void chosen(void) {
    cpu_set_t had, one;
    sched_getaffinity(0, sizeof had, &had);
    pid_t other = fork();
    if (other == 0) {
        pause();
        _exit(0);
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &had)) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            fact("choose", sched_setaffinity(0, sizeof one, &one));
            show("chosen", 0);
            ok(sched_getcpu() == cpu, "it runs there");
            in_child("child of one that chose");
        }
    show("who hasn't chosen", other);
    fact("choose for another", sched_setaffinity(other, sizeof one, &one));
    show("another", other);
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    fact("choose all again", sched_setaffinity(0, sizeof had, &had));
    show("all again", 0);
    in_child("child of one that has all again");
}

int main(int argc, char **argv) {
    pthread_t thread;
    cpu_set_t set;

    (void)argv;
    sched_getaffinity(0, sizeof set, &set);
    show("first", 0);
    in_child("child");
    pthread_create(&thread, NULL, in_thread, NULL);
    pthread_join(thread, NULL);
    raw();
    if (CPU_COUNT(&set) > 1 && argc > 1) {
        both_run();
        usleep(100 * 1000);
        in_child("child after a rest");
        threads_run();
        show("after that", 0);
    }
    chosen();
    if (CPU_COUNT(&set) > 1 && argc > 1) both_run();
    return finish();
}
