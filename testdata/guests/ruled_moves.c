/* ruled_moves: directories that are moved to where other rules hold, while they are in use.
 *
 *   ruled_moves held       free/ is moved into locked/ by ourselves
 *   ruled_moves held made  the same, of directories that we have made
 *   ruled_moves held wait  says "move", and somebody else moves it
 *   ruled_moves race       one thread moves d between x/ and y/, others look for y/secret by way of it
 *
 * Says which roads lead to writing, or to the secret. */
#include "check.h"
#include <pthread.h>
#include <stdatomic.h>

static int dir, path_only, file;

static int by_cwd(void) { return open("f", O_WRONLY); }
static int by_name(void) {
    char path[PATH_MAX + 4];
    if (!getcwd(path, PATH_MAX)) return -1;
    strcat(path, "/f");
    return open(path, O_WRONLY);
}
static int by_dir(void) { return openat(dir, "f", O_WRONLY); }
static int by_path(void) { return openat(path_only, "f", O_WRONLY); }
static int by_link(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d/f", dir);
    return open(path, O_WRONLY);
}
static int again(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    return open(path, O_WRONLY);
}
static int makes(void) { return openat(dir, "new", O_WRONLY | O_CREAT, 0600); }
static int mode(void) { return chmod("f", 0644); }
static int mode_of_held(void) { return fchmod(file, 0644); }
static int size(void) { return truncate("f", 1); }
static int removes(void) { return unlinkat(dir, "g", 0); }
static int names(void) { return linkat(dir, "f", dir, "h", 0); }
static int below(void) { return open("deep/f", O_WRONLY); }

static const struct { const char *name; int (*go)(void); } roads[] = {
    {"cwd", by_cwd}, {"name", by_name}, {"dirfd", by_dir}, {"O_PATH", by_path}, {"/proc", by_link}, {"again", again},
    {"O_CREAT", makes}, {"chmod", mode}, {"fchmod", mode_of_held}, {"truncate", size}, {"unlink", removes}, {"link", names},
    {"below", below},
};

static void tries(const char *when) {
    for (size_t i = 0; i < sizeof roads / sizeof *roads; i++) {
        int r = roads[i].go();
        printf("%s %s: %s\n", when, roads[i].name, r < 0 ? errname(errno) : "done");
        if (r > 2) close(r);
    }
    unlinkat(dir, "new", 0), unlinkat(dir, "h", 0);
    close(openat(dir, "g", O_WRONLY | O_CREAT, 0600));
    fflush(stdout);
}

static void held(const char *how) {
    int wait = !strcmp(how, "wait");
    if (!strcmp(how, "made")) {
        mkdir("free", 0755), mkdir("free/deep", 0755), mkdir("locked", 0755);
        put("free/f", "text", 0644), put("free/deep/f", "text", 0644);
    }
    if (chdir("free") < 0) exit(2);
    dir = open(".", O_RDONLY | O_DIRECTORY), path_only = open(".", O_PATH), file = open("f", O_RDONLY);
    close(open("g", O_WRONLY | O_CREAT, 0600));
    tries("before");
    if (wait) {
        puts("move");
        fflush(stdout);
        getchar();
        sleep_ms(10); /* for so long an old name may hold */
    } else if (rename("../free", "../locked/free") < 0) perror("rename");
    tries("after");
}

static atomic_int stop, found;
static long looks;

static void *moves(void *arg) {
    while (!stop) rename("x/d", "y/d"), rename("y/d", "x/d");
    return arg;
}

static void look(int at, const char *path) {
    struct stat st;
    char text[8] = "";
    int fd = openat(at, path, O_RDONLY);
    if (fd >= 0 && read(fd, text, 6) == 6 && !strcmp(text, "secret")) found++;
    if (fd >= 0) close(fd);
    if (fstatat(at, path, &st, 0) == 0) found++;
    if (readlinkat(at, path, text, sizeof text) < 0 && errno == EINVAL) found++;
    __atomic_add_fetch(&looks, 1, __ATOMIC_RELAXED);
}

static void *by_paths(void *arg) {
    while (!stop) look(AT_FDCWD, "x/d/../secret"), look(AT_FDCWD, "y/d/../secret"), look(AT_FDCWD, "x/d/e/../../secret");
    return arg;
}

static void *by_held(void *arg) {
    int d = -1, e;
    while (d < 0) d = open("x/d", O_PATH | O_DIRECTORY);
    e = openat(d, "e", O_RDONLY | O_DIRECTORY);
    while (!stop) look(d, "../secret"), look(e, "../../secret");
    return arg;
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "held")) return held(argc > 2 ? argv[2] : ""), 0;
    pthread_t t[4];
    void *(*work[4])(void *) = {moves, by_paths, by_held, by_held};
    for (int i = 0; i < 4; i++) pthread_create(&t[i], NULL, work[i], NULL);
    sleep_ms(3000);
    stop = 1;
    for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
    printf("found: %s\n", found ? "yes" : "no");
    note("%ld looks, %d found", looks, found);
    return 0;
}
