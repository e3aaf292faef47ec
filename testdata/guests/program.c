/* program: what a program finds of itself: its path, name, mappings, arguments; and starting itself again.
 *
 *   program PATH    PATH is this program's own file; every answer must name it
 *
 * In sbox the kernel may run something in the program's place: no file must tell. */
#include "check.h"
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>

extern char **environ;

static const char *base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Every file that maps tells must be a file of that device and inode. */
static void mappings(const char *file, const char *own) {
    char line[PATH_MAX + 200], path[PATH_MAX];
    int own_lines = 0, wrong = 0, odd = 0;
    FILE *maps = fopen(file, "r");
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long from, to, offset, inode;
        unsigned major_, minor_;
        char perms[8];
        if (sscanf(line, "%lx-%lx %7s %lx %x:%x %lu %4000[^\n]", &from, &to, perms, &offset, &major_, &minor_, &inode, path) < 8) continue;
        if (path[0] != '/') continue;
        struct stat st;
        if (stat(path, &st) < 0) { odd++; note("%s", line); continue; }
        /* file systems with anonymous devices tell another one in maps */
        if (st.st_ino != inode || (major_ != 0 && st.st_dev != makedev(major_, minor_))) wrong++, note("%s", line);
        own_lines += !strcmp(path, own);
        if (line[73] != '/') wrong++, note("%s", line);
    }
    if (maps) fclose(maps);
    ok(maps && own_lines >= 3, "%s names the program", base(file));
    ok(wrong == 0 && odd == 0, "%s: every path is that very file", base(file));
}

static void *again(void *arg) {
    execve("/proc/self/exe", (char *[]){arg, "thread", NULL}, environ);
    return NULL;
}

static void child(const char *label, int how, const char *own) {
    pid_t p = how == 5 ? vfork() : fork_clean();
    if (p == 0) {
        char *first = (char *)own;
        int fd = open(own, O_RDONLY | O_CLOEXEC);
        if (how == 0) execve("/proc/self/exe", (char *[]){first, "child", NULL}, environ);
        if (how == 1) fexecve(open("/proc/self/exe", O_RDONLY | O_CLOEXEC), (char *[]){first, "child", NULL}, environ);
        if (how == 2) fexecve(fd, (char *[]){first, "child", NULL}, environ);
        if (how == 3 || how == 4) {
            pthread_t t;
            pthread_create(&t, NULL, again, first);
            pthread_join(t, NULL);
        }
        if (how == 5) execve(own, (char *[]){first, "child", NULL}, environ);
        if (how == 6) {
            char *big = malloc(131072), **many = calloc(1003, sizeof *many);
            memset(big, 'b', 131071);
            big[131071] = 0;
            many[0] = first, many[1] = "child";
            for (int i = 2; i < 15; i++) many[i] = big;
            execve(own, many, environ);
        }
        if (how == 7) { /* many words: the pointers take more room than the strings */
            enum { MANY = 90000 };
            char **many = calloc(MANY + 1, sizeof *many);
            for (int i = 0; i < MANY; i++) many[i] = "";
            many[0] = first, many[1] = "child";
            execve(own, many, environ);
        }
        if (how == 8) {
            int mem = memfd_create("copy", MFD_CLOEXEC);
            char buf[4096];
            for (ssize_t n; (n = read(fd, buf, sizeof buf)) > 0;)
                if (write(mem, buf, n) != n) _exit(8);
            char path[64];
            snprintf(path, sizeof path, "/proc/self/fd/%d", mem);
            int ro = open(path, O_RDONLY | O_CLOEXEC);
            close(mem);
            fexecve(ro, (char *[]){first, "memory", NULL}, environ);
        }
        _exit(98);
    }
    int status = 0;
    waitpid(p, &status, 0);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s (status %x)", label, status);
}

int main(int argc, char **argv) {
    const char *own = argv[0];
    char exe[PATH_MAX + 1], comm[64] = "", line[512] = "";
    ssize_t n = readlink("/proc/self/exe", exe, PATH_MAX);
    exe[n > 0 ? n : 0] = 0;
    const char *role = argc > 1 ? argv[1] : "first";
    if (!strcmp(role, "memory"))
        return strcmp(exe, "/memfd:copy (deleted)") != 0;
    if (!ok(!strcmp(exe, own), "%s: the exe link is the program", role)) note("%s, not %s", exe, own);
    struct stat link, file;
    ok(stat("/proc/self/exe", &link) == 0 && stat(own, &file) == 0 && link.st_ino == file.st_ino && link.st_dev == file.st_dev &&
       link.st_size == file.st_size && link.st_mode == file.st_mode, "%s: and the very file", role);
    int fd = open("/proc/self/exe", O_RDONLY), real = open(own, O_RDONLY);
    char a[4096], b[4096];
    ok(read(fd, a, sizeof a) == sizeof a && read(real, b, sizeof b) == sizeof b && !memcmp(a, b, sizeof a), "%s: with its bytes", role);
    close(fd), close(real);
    const char *asked = (const char *)getauxval(AT_EXECFN);
    if (!strcmp(role, "first")) {
        if (!ok(!strcmp(asked, own), "AT_EXECFN is the path that was asked for")) note("%s", asked);
        int c = open("/proc/self/comm", O_RDONLY);
        read(c, comm, sizeof comm - 1);
        close(c);
        comm[strcspn(comm, "\n")] = 0;
        char want[16] = "";
        snprintf(want, sizeof want, "%.15s", base(own));
        ok(!strcmp(comm, want), "comm is %s", comm);
        c = open("/proc/self/cmdline", O_RDONLY);
        n = read(c, line, sizeof line);
        close(c);
        ok(n == (ssize_t)strlen(own) + 1 && !strcmp(line, own), "cmdline is argv");
        ok(fails(open(own, O_WRONLY), ETXTBSY), "it can't be written while it runs");
        ok(fails(truncate(own, 0), ETXTBSY), "nor truncated");
        void *before = sbrk(0);
        ok(sbrk(1 << 20) == before && sbrk(0) == (char *)before + (1 << 20), "the heap grows");
        ok((getauxval(AT_ENTRY) & ~0xfffUL) != 0 && getauxval(AT_BASE) != 0 && getauxval(AT_SECURE) == 0, "entry, base, secure");
    } else if (argc < 50000) { /* so many leave no room on the stack for what sbox would put there */
        int by_path = strncmp(asked, "/dev/fd/", 8) && strncmp(asked, "/proc/", 6);
        printf("%s: asked for %s\n", role, by_path ? base(asked) : asked);
    }
    mappings("/proc/self/maps", own);
    if (strcmp(role, "first")) return finish();
    static const char *ways[] = {"/proc/self/exe", "fexecve of it", "fexecve", "from a thread", "from a thread again", "vfork",
                                 "long arguments", "90000 arguments", "memory file"};
    for (int i = 0; i < 9; i++) child(ways[i], i, own);
    return finish();
}
