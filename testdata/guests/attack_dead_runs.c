/* attack_dead_runs: plants something that looks like what a killed run of sbox left behind, where the next run will
 * remove it: a link to a directory outside, whose mode that run would change, or a FIFO, which it would open.
 *
 *   attack_dead_runs link TMP VICTIM    TMP is writable, and will be the temporary directory of the next run
 *   attack_dead_runs fifo TMP */
#include "check.h"

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    char dir[PATH_MAX], path[PATH_MAX + 10], empty[PATH_MAX + 10];
    snprintf(dir, sizeof dir, "%s/sbox-%d", argv[2], getuid());
    snprintf(path, sizeof path, "%s/1-1", dir);
    snprintf(empty, sizeof empty, "%s/empty", dir); /* what each run finds or makes before it removes anything */
    ok(mkdir(dir, 0700) == 0 && mkdir(empty, 0555) == 0, "mkdir");
    if (argc > 3) ok(symlink(argv[3], path) == 0, "a link");
    else ok(mkfifo(path, 0600) == 0, "a FIFO");
    /* Long dead. */
    struct timespec times[2] = {{.tv_sec = time(NULL) - 3600}, {.tv_sec = time(NULL) - 3600}};
    ok(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) == 0, "utimensat");
    /* What can't be removed is made writable first. */
    ok(chmod(dir, 0500) == 0, "chmod");
    return finish();
}
