/* attack_starve: processes that loop on execs that fail keep the tracer busy; what others ask it for is done all the same.
 *
 *   attack_starve PROCESSES OPENS */
#include "check.h"

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    int count = atoi(argv[1]), opens = atoi(argv[2]), failed = 0;
    pid_t loops[64];
    for (int i = 0; i < count && i < 64; i++) {
        if ((loops[i] = fork_clean()) == 0) {
            char *args[] = {"absent", NULL};
            for (;;) execv("/absent/program", args);
        }
    }
    sleep_ms(100);
    long start = now_us(), longest = 0;
    for (int i = 0; i < opens; i++) {
        long before = now_us();
        int fd = open("/etc/passwd", O_PATH);
        if (fd < 0) failed = errno;
        close(fd);
        long took = now_us() - before;
        if (took > longest) longest = took;
    }
    errno = failed;
    ok(failed == 0, "an O_PATH open is served");
    note("%d opens in %ld ms, the longest %ld ms", opens, (now_us() - start) / 1000, longest / 1000);
    for (int i = 0; i < count && i < 64; i++) kill(loops[i], SIGKILL);
    return finish();
}
