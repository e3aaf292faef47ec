/* lists: what may be done with a directory and a file in it.
 *
 *   lists DIR OUT      DIR has a file "f", a link "link" and a directory "sub"; OUT can be written
 * For each way one line: WAY ERROR.
 *
 *   lists race PATH    opens what is a directory and a file by turns; says how often there was something to read */
#include "check.h"
#include <dirent.h>
#include <linux/openat2.h>
#include <sys/inotify.h>
#include <sys/xattr.h>

static char buffer[4096];

static void say(const char *way, long r) {
    int e = r < 0 ? errno : 0;
    printf("%s %s\n", way, errname(e));
    fflush(stdout);
}

static long shut(int fd) {
    if (fd >= 0) close(fd);
    return fd < 0 ? -1 : 0;
}

/* Opens what an O_PATH descriptor stands for. */
static long again(const char *path, int flags) {
    char link[64];
    int held = open(path, O_PATH);
    if (held < 0) return -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", held);
    int fd = open(link, flags), e = errno;
    close(held);
    errno = e;
    return shut(fd);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void names(const char *dir) {
    char *all[64];
    int n = 0;
    DIR *d = opendir(dir);
    printf("names %s", d ? "0" : errname(errno));
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.') all[n++] = strdup(e->d_name);
    if (d) closedir(d);
    qsort(all, n, sizeof *all, by_name);
    for (int i = 0; i < n; i++) printf(" %s", all[i]);
    putchar('\n');
}

static long watch(const char *path) {
    int fd = inotify_init1(0), r = inotify_add_watch(fd, path, IN_ALL_EVENTS), e = errno;
    close(fd);
    errno = e;
    return r;
}

static long run(char *path) {
    char *argv[] = {path, NULL};
    pid_t p = vfork();
    if (p == 0) {
        execv(path, argv);
        _exit(errno);
    }
    int st = 0;
    waitpid(p, &st, 0);
    errno = WEXITSTATUS(st);
    return errno ? -1 : 0;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    if (!strcmp(argv[1], "race")) {
        int read_some = 0, opened = 0;
        for (int i = 0; i < 20000; i++) {
            int one = open(argv[2], O_RDONLY);
            if (one < 0) continue;
            opened++;
            read_some += read(one, buffer, sizeof buffer) > 0;
            close(one);
        }
        printf("race %s %d\n", opened ? "some" : "none", read_some);
        return 0;
    }
    const char *dir = argv[1];
    char f[PATH_MAX], link[PATH_MAX], made[PATH_MAX], out[PATH_MAX];
    snprintf(f, sizeof f, "%s/f", dir), snprintf(link, sizeof link, "%s/link", dir), snprintf(made, sizeof made, "%s/made", dir);
    snprintf(out, sizeof out, "%s/taken", argv[2]);
    struct open_how how = {.flags = O_RDONLY};
    struct stat st;
    int fd;
    names(dir);
    say("open-dir", shut(open(dir, O_RDONLY)));
    say("openat2-dir", shut(syscall(SYS_openat2, AT_FDCWD, dir, &how, sizeof how)));
    say("path-dir", shut(open(dir, O_PATH)));
    say("again-dir", again(dir, O_RDONLY));
    fd = open(dir, O_PATH);
    say("dot-dir", shut(openat(fd, ".", O_RDONLY)));
    say("held-names", syscall(SYS_getdents64, fd, buffer, sizeof buffer));
    close(fd);
    say("r-dir", access(dir, R_OK));
    say("x-dir", access(dir, X_OK));
    say("watch-dir", watch(dir));
    say("stat", stat(f, &st));
    say("exists", access(f, F_OK));
    say("r", access(f, R_OK));
    say("x", access(f, X_OK));
    say("open", shut(open(f, O_RDONLY)));
    say("open-dir-file", shut(open(f, O_RDONLY | O_DIRECTORY)));
    say("openat2", shut(syscall(SYS_openat2, AT_FDCWD, f, &how, sizeof how)));
    say("write", shut(open(f, O_WRONLY)));
    say("path", shut(open(f, O_PATH)));
    say("again", again(f, O_RDONLY));
    say("watch", watch(f));
    say("exec", run(f));
    say("truncate", truncate(f, 0));
    say("chmod", chmod(f, 0600));
    say("unlink", unlink(f));
    say("rename", rename(f, out));
    say("link", linkat(AT_FDCWD, f, AT_FDCWD, out, 0));
    say("readlink", readlink(link, buffer, sizeof buffer));
    say("through-link", shut(open(link, O_RDONLY)));
    say("mkdir", mkdir(made, 0700));
    say("create", shut(open(made, O_CREAT | O_WRONLY, 0600)));
    say("nameless", shut(open(dir, O_TMPFILE | O_RDWR, 0600)));
    say("chdir", chdir(dir));
    say("here", shut(open(".", O_RDONLY)));
    say("f-here", shut(open("f", O_RDONLY)));
    return 0;
}
