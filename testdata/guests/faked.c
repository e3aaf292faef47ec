/* Asks for what a policy may fake, in every way: by the C library, by the system call itself, and with bad pointers.
   Says "name value" each; what is left alone must be as natively. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void clocks(void) {
    static const struct { const char *name; int id; } all[] = {
        {"realtime", CLOCK_REALTIME}, {"coarse", CLOCK_REALTIME_COARSE}, {"tai", CLOCK_TAI},
        {"alarm", CLOCK_REALTIME_ALARM}, {"monotonic", CLOCK_MONOTONIC}, {"boottime", CLOCK_BOOTTIME},
    };
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        struct timespec by_libc = {0}, by_call = {0};
        int a = clock_gettime(all[i].id, &by_libc), b = syscall(SYS_clock_gettime, all[i].id, &by_call);
        printf("%s %d %d %lld.%09ld %lld.%09ld\n", all[i].name, a, b, (long long)by_libc.tv_sec, by_libc.tv_nsec,
               (long long)by_call.tv_sec, by_call.tv_nsec);
    }
    struct timeval tv = {0}, raw = {0};
    struct timezone zone = {1, 1};
    int a = gettimeofday(&tv, NULL), b = syscall(SYS_gettimeofday, &raw, &zone);
    printf("gettimeofday %d %d %lld.%06ld %lld.%06ld zone %d\n", a, b, (long long)tv.tv_sec, (long)tv.tv_usec,
           (long long)raw.tv_sec, (long)raw.tv_usec, zone.tz_minuteswest);
    time_t at = 1;
    long said = syscall(SYS_time, &at);
    printf("time %lld %ld %lld\n", (long long)time(NULL), said, (long long)at);
    said = syscall(SYS_clock_gettime, CLOCK_REALTIME, (void *)8);
    printf("bad %ld %s\n", said, strerror(errno));
    said = syscall(SYS_clock_gettime, 77, &at);
    printf("no clock %ld %s\n", said, strerror(errno));
}

int main(int argc, char **argv) {
    int again = argc > 1 && strcmp(argv[1], "again") == 0;
    printf("vdso %d\n", getauxval(AT_SYSINFO_EHDR) != 0);
    printf("getuid %ld\n", (long)getuid());
    printf("geteuid %ld\n", (long)geteuid());
    printf("umask %ld\n", syscall(SYS_umask, 022));
    printf("dup3 %ld\n", syscall(SYS_dup3, 1, 9, 0));
    long other = syscall(SYS_dup3, 77, 8, 0);
    printf("dup3-else %ld %s\n", other, strerror(errno));
    printf("write %ld\n", (long)write(9, "", 0));
    clocks();
    fflush(stdout);
    if (!again) {
        int child = fork();
        if (child == 0) { execl(argv[0], argv[0], "again", NULL); _exit(1); }
        int status;
        waitpid(child, &status, 0);
    }
    return 0;
}
