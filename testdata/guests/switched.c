// What a program reaches that was switched to a narrower policy, and by which road.
//
//   switched START ROAD TOP    holds what it can of TOP/secret, and starts TOP/bin/narrow by START, which takes ROAD
//   narrow go HOW ROAD TOP     takes it: itself, or what it makes
//   INTERPRETER script FILE HOW ROAD TOP   the same, as the interpreter of a script
//
// With START calm nobody wider reads meanwhile.
// The answer is one line: "done" or the name of the error. Of what lists names, the names.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { DIR_FD = 20, FILE_FD = 21, PROG_FD = 22, TOP_FD = 23, PATH_FD = 24 };

extern char **environ;
static const char *top;
static char text[4096];

static const char *at(const char *below) {
    static char all[8][4096];
    static int next;
    char *out = all[next++ % 8];
    snprintf(out, sizeof all[0], "%s/%s", top, below);
    return out;
}

static const char *printed(const char *format, const char *below) {
    snprintf(text, sizeof text, format, below);
    return text;
}

static long opens(int dir, const char *path, int flags) {
    int fd = openat(dir, path, flags, 0644);
    if (fd < 0)
        return -1;
    char byte;
    if (!(flags & (O_PATH | O_WRONLY | O_DIRECTORY)) && read(fd, &byte, 1) != 1)
        return -1;
    close(fd);
    return 0;
}

static long lists(DIR *dir) {
    if (!dir)
        return -1;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            printf("%s ", entry->d_name);
    return 0;
}

static long runs(const char *path, int fd) {
    pid_t child = fork();
    if (child == 0) {
        char *argv[] = {"prog", NULL};
        if (fd >= 0)
            syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
        else
            execve(path, argv, environ);
        _exit(errno);
    }
    int status;
    waitpid(child, &status, 0);
    // The program ends with 99.
    errno = WEXITSTATUS(status);
    return errno == 99 ? 0 : -1;
}

static long sockets(const char *path, int binds) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return errno = ENAMETOOLONG, -1;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr *name = (struct sockaddr *)&address;
    return binds ? bind(fd, name, sizeof address) : connect(fd, name, sizeof address);
}

static long beneath(int dir, const char *path) {
    struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_BENEATH};
    return syscall(SYS_openat2, dir, path, &how, sizeof how) < 0 ? -1 : 0;
}

static long take(const char *road) {
    struct stat stat_buf;
    struct statfs fs;
    char buf[256];
    pid_t parent = atoi(getenv("WIDE") ?: "0");
#define IS(name) (!strcmp(road, name))
    if (IS("absolute")) return opens(AT_FDCWD, at("secret/f"), O_RDONLY);
    if (IS("relative")) return opens(AT_FDCWD, "f", O_RDONLY);
    if (IS("dot")) return opens(AT_FDCWD, ".", O_RDONLY | O_DIRECTORY);
    if (IS("dots")) return opens(AT_FDCWD, "../secret/f", O_RDONLY);
    if (IS("dots-out")) return opens(AT_FDCWD, "../open/f", O_RDONLY);
    if (IS("through")) return opens(AT_FDCWD, at("open/../secret/sub/../f"), O_RDONLY);
    if (IS("known")) {
        // Which somebody wider walks all the while, so that where it leads is known.
        for (int i = 0; i < 500; i++)
            if (opens(AT_FDCWD, at("secret/sub/../../open/f"), O_RDONLY) == 0)
                return 0;
        return -1;
    }
    if (IS("openat")) return opens(DIR_FD, "f", O_RDONLY);
    if (IS("openat-top")) return opens(TOP_FD, "secret/f", O_RDONLY);
    if (IS("openat2")) return beneath(TOP_FD, "secret/f");
    if (IS("openat2-held")) return beneath(DIR_FD, "f");
    if (IS("symlink")) return opens(AT_FDCWD, at("open/link"), O_RDONLY);
    if (IS("symlink-dir")) return opens(AT_FDCWD, at("open/dirlink/f"), O_RDONLY);
    if (IS("proc-root")) return opens(AT_FDCWD, printed("/proc/self/root%s", at("secret/f")), O_RDONLY);
    if (IS("proc-cwd")) return opens(AT_FDCWD, "/proc/self/cwd/f", O_RDONLY);
    if (IS("proc-fd-dir")) return opens(AT_FDCWD, "/proc/self/fd/20/f", O_RDONLY);
    if (IS("proc-fd-file")) return opens(AT_FDCWD, "/proc/self/fd/21", O_RDONLY);
    if (IS("proc-fd-write")) return opens(AT_FDCWD, "/proc/self/fd/21", O_WRONLY);
    if (IS("proc-fd-path")) return opens(AT_FDCWD, "/proc/self/fd/24", O_RDONLY);
    if (IS("proc-task")) return opens(AT_FDCWD, "/proc/thread-self/fd/20/f", O_RDONLY);
    if (IS("wide-root")) {
        snprintf(text, sizeof text, "/proc/%d/root%s", parent, at("secret/f"));
        return opens(AT_FDCWD, text, O_RDONLY);
    }
    if (IS("wide-cwd")) {
        snprintf(text, sizeof text, "/proc/%d/cwd/f", parent);
        return opens(AT_FDCWD, text, O_RDONLY);
    }
    if (IS("wide-fd")) {
        snprintf(text, sizeof text, "/proc/%d/fd/21", parent);
        return opens(AT_FDCWD, text, O_RDONLY);
    }
    if (IS("wide-environ")) {
        snprintf(text, sizeof text, "/proc/%d/environ", parent);
        return opens(AT_FDCWD, text, O_RDONLY);
    }
    if (IS("wide-task-environ")) {
        snprintf(text, sizeof text, "/proc/%d/task/%d/environ", parent, parent);
        return opens(AT_FDCWD, text, O_RDONLY);
    }
    if (IS("stat")) return stat(at("secret/f"), &stat_buf);
    if (IS("stat-relative")) return lstat("f", &stat_buf);
    if (IS("stat-dir")) return stat(at("secret"), &stat_buf);
    if (IS("stat-cwd")) return stat(".", &stat_buf);
    if (IS("statfs")) return statfs(at("secret/f"), &fs);
    if (IS("access")) return access(at("secret/f"), F_OK);
    if (IS("readlink")) return readlink(at("secret/l"), buf, sizeof buf) < 0 ? -1 : 0;
    if (IS("getxattr")) {
        long got = getxattr(at("secret/f"), "user.x", buf, sizeof buf);
        return got < 0 && errno != ENODATA && errno != ENOTSUP ? -1 : 0;
    }
    if (IS("chdir")) return chdir(at("secret"));
    if (IS("fchdir")) return fchdir(DIR_FD) || opens(AT_FDCWD, "f", O_RDONLY);
    if (IS("chdir-below")) return chdir("sub") || opens(AT_FDCWD, "g", O_RDONLY);
    if (IS("list")) return lists(opendir(at("secret")));
    if (IS("watch")) return inotify_add_watch(inotify_init1(0), at("secret/f"), IN_OPEN) < 0 ? -1 : 0;
    if (IS("watch-cwd")) return inotify_add_watch(inotify_init1(0), ".", IN_OPEN) < 0 ? -1 : 0;
    if (IS("exec")) return runs(at("secret/prog"), -1);
    if (IS("exec-relative")) return runs("./prog", -1);
    if (IS("exec-held")) return runs(NULL, PROG_FD);
    if (IS("exec-proc")) return runs("/proc/self/fd/22", -1);
    if (IS("create")) return opens(AT_FDCWD, at("secret/new"), O_WRONLY | O_CREAT);
    if (IS("create-relative")) return opens(AT_FDCWD, "new", O_WRONLY | O_CREAT);
    if (IS("create-held")) return opens(DIR_FD, "new", O_WRONLY | O_CREAT);
    if (IS("tmpfile")) return opens(AT_FDCWD, ".", O_WRONLY | O_TMPFILE);
    if (IS("write")) return opens(AT_FDCWD, at("secret/f"), O_WRONLY | O_TRUNC);
    if (IS("truncate")) return truncate("f", 0);
    if (IS("mkdir")) return mkdirat(DIR_FD, "made", 0755);
    if (IS("mkfifo")) return mkfifo(at("secret/fifo"), 0644);
    if (IS("make-link")) return symlink("x", "made");
    if (IS("unlink")) return unlink(at("secret/f"));
    if (IS("unlink-held")) return unlinkat(DIR_FD, "f", 0);
    if (IS("rmdir")) return rmdir(at("secret/empty"));
    if (IS("rename-out")) return rename("f", at("open/got"));
    if (IS("rename-dir")) return rename(at("secret"), at("open/got"));
    if (IS("rename-in")) return rename(at("open/f"), "f");
    if (IS("exchange")) return syscall(SYS_renameat2, DIR_FD, "f", AT_FDCWD, at("open/f"), RENAME_EXCHANGE);
    if (IS("link")) return link("f", at("open/got"));
    if (IS("link-held")) return linkat(FILE_FD, "", AT_FDCWD, at("open/got"), AT_EMPTY_PATH);
    if (IS("link-proc"))
        return linkat(AT_FDCWD, "/proc/self/fd/21", AT_FDCWD, at("open/got"), AT_SYMLINK_FOLLOW);
    if (IS("chmod")) return chmod(at("secret/f"), 0600);
    if (IS("utimes")) return utimensat(DIR_FD, "f", NULL, 0);
    if (IS("bind")) return sockets("made", 1);
    if (IS("connect")) return sockets("sock", 0);
    // Calls.
    if (IS("getuid")) return syscall(SYS_getuid) < 0 ? -1 : 0;
    if (IS("random")) return syscall(SYS_getrandom, buf, 1, 1) == 1 ? 0 : -1;
    if (IS("random-other")) return syscall(SYS_getrandom, buf, 1, 0) == 1 ? 0 : -1;
    if (IS("faked")) return errno = ERANGE, syscall(SYS_getppid) == 4242 ? 0 : -1;
    if (IS("clock")) return errno = ERANGE, time(NULL) == 1767225600 ? 0 : -1;
    if (IS("acct")) return syscall(SYS_acct, NULL);
    if (IS("inet")) return socket(AF_INET, SOCK_STREAM, 0) < 0 ? -1 : 0;
    if (IS("unix")) return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? -1 : 0;
    if (IS("race")) {
        // In a directory that somebody wider moves to and fro.
        int seen = 0, lost = 0;
        for (int i = 0; i < 100000 && (i < 500 || !seen || !lost); i++) {
            const char *roads[] = {"../f", "f", "../d/../f"};
            for (int j = 0; j < 3; j++) {
                int fd = open(roads[j], O_RDONLY);
                // What is secret begins so.
                if (fd >= 0 && read(fd, buf, 1) == 1 && *buf == 's')
                    return errno = ELNRNG, -1;
                if (j == 1)
                    *(fd < 0 ? &lost : &seen) += 1;
                close(fd);
            }
        }
        return errno = EL2NSYNC, seen && lost ? 0 : -1;
    }
    if (IS("mounts")) {
        FILE *list = fopen("/proc/self/mounts", "r");
        char place[256];
        while (list && fscanf(list, "%*s %255s %*[^\n]", place) == 1)
            printf("%s ", place);
        return list ? 0 : -1;
    }
    if (IS("each")) {
        FILE *list = fopen(at("bin/list"), "r");
        while (list && fgets(text, sizeof text, list)) {
            text[strcspn(text, "\n")] = 0;
            int sees = lstat(text, &stat_buf) == 0;
            int reads = opens(AT_FDCWD, text, O_RDONLY) == 0;
            int writes = opens(AT_FDCWD, text, O_WRONLY) == 0;
            printf("%s %d%d%d\n", text, sees, reads, writes);
        }
        return list ? 0 : -1;
    }
    // What stays.
    if (IS("held-read")) return pread(FILE_FD, buf, 1, 0) == 1 ? 0 : -1;
    if (IS("held-stat")) return fstat(FILE_FD, &stat_buf);
    if (IS("open")) return opens(AT_FDCWD, at("open/f"), O_RDWR);
    if (IS("open-create")) return opens(AT_FDCWD, at("open/new"), O_WRONLY | O_CREAT);
    if (IS("ro")) return opens(AT_FDCWD, at("ro/f"), O_RDONLY);
    if (IS("ro-write")) return opens(AT_FDCWD, at("ro/f"), O_WRONLY);
    if (IS("ro-move")) return rename(at("ro/f"), at("open/got"));
    if (IS("deny")) return opens(AT_FDCWD, at("deny/f"), O_RDONLY);
    if (IS("deny-stat")) return stat(at("deny/f"), &stat_buf);
    if (IS("list-top")) return lists(opendir(top));
    if (IS("list-held")) return lists(fdopendir(DIR_FD));
    if (IS("list-dot")) return lists(opendir("."));
    if (IS("null")) return opens(AT_FDCWD, "/dev/null", O_WRONLY);
    if (IS("zero")) return opens(AT_FDCWD, "/dev/zero", O_RDONLY);
    if (IS("status")) return opens(AT_FDCWD, "/proc/self/status", O_RDONLY);
    if (IS("environ")) return opens(AT_FDCWD, "/proc/self/environ", O_RDONLY);
#undef IS
    errno = ENOSYS;
    return -1;
}

static void tell_error(void) {
    printf("%s\n", strerrorname_np(errno));
    fflush(stdout);
}

static void *tell(void *road) {
    long result = take(road);
    if (result)
        tell_error();
    else
        puts("done");
    fflush(stdout);
    return NULL;
}

static int ended(pid_t child) {
    int status;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 125;
}

static int go(const char *how, char *road) {
    if (!strcmp(how, "itself")) {
        tell(road);
    } else if (!strcmp(how, "fork")) {
        pid_t child = fork();
        if (child == 0) {
            tell(road);
            _exit(0);
        }
        return ended(child);
    } else if (!strcmp(how, "thread")) {
        pthread_t thread;
        pthread_create(&thread, NULL, tell, road);
        pthread_join(thread, NULL);
    } else if (!strcmp(how, "wide")) {
        // The program that the other policy lets do all.
        execl(at("bin/wide"), "wide", "go", "itself", road, top, NULL);
        perror("exec wide");
    } else {
        // Or one of the others.
        char program[64];
        snprintf(program, sizeof program, "bin/%s", how);
        execl(at(program), how, "go", "itself", road, top, NULL);
        tell_error();
    }
    return 0;
}

static int go_by(const char *one, const char *other) {
    char program[64];
    snprintf(program, sizeof program, "bin/%s", one);
    execl(at(program), one, "go", other, "open", top, NULL);
    tell_error();
    return 0;
}

static void moved(int fd, int to) {
    if (fd < 0 || dup2(fd, to) != to) {
        perror("preparing");
        exit(3);
    }
    close(fd);
}

static char *argv_narrow[6] = {"narrow", "go", "itself", NULL, NULL, NULL};

static void *starts(void *unused) {
    execv(at("bin/narrow"), argv_narrow);
    perror("exec");
    exit(4);
    return unused;
}

static void *reads(void *stop) {
    // Somebody wider, who walks the same paths all the while.
    while (!*(volatile int *)stop)
        if (syscall(SYS_getuid) < 0 || time(NULL) == 1767225600 || opens(AT_FDCWD, at("secret/f"), O_RDONLY) || opens(DIR_FD, "f", O_RDONLY) ||
            opens(AT_FDCWD, at("secret/sub/../../open/f"), O_RDONLY)) {
            printf("the wider one: %s\n", strerrorname_np(errno));
            exit(5);
        }
    return NULL;
}

int main(int argc, char **argv) {
    top = argv[argc - 1];
    if (argc == 1)
        return 99;
    if (!strcmp(argv[1], "go"))
        return go(argv[2], argv[3]);
    if (!strcmp(argv[1], "script"))
        return go(argv[3], argv[4]);
    const char *start = argv[1];
    if (!strcmp(start, "sets")) {
        // Each of so many programs starts each.
        int many = atoi(argv[2]);
        for (int i = 0; i < many * many; i++) {
            char one[16], other[16];
            snprintf(one, sizeof one, "p%d", i / many);
            snprintf(other, sizeof other, "p%d", i % many);
            pid_t child = fork();
            if (child == 0)
                return go_by(one, other);
            ended(child);
        }
        return 0;
    }
    char number[16];
    snprintf(number, sizeof number, "%d", getpid());
    setenv("WIDE", number, 1);
    moved(open(top, O_RDONLY | O_DIRECTORY), TOP_FD);
    moved(open(at("secret"), O_RDONLY | O_DIRECTORY), DIR_FD);
    moved(open(at("secret/f"), O_RDWR), FILE_FD);
    moved(open(at("secret/f"), O_PATH), PATH_FD);
    moved(open(at("secret/prog"), O_RDONLY), PROG_FD);
    int mover = !strncmp(start, "mover", 5);
    if (chdir(at(mover ? "open/d" : "secret")))
        return 3;
    argv_narrow[3] = argv[2];
    argv_narrow[4] = (char *)top;
    const char *then = strchr(start, '-');
    if (then)
        argv_narrow[2] = (char *)then + 1;
    if (!strncmp(start, "thread", 6)) {
        // By a thread that is not the first.
        pthread_t thread;
        pthread_create(&thread, NULL, starts, NULL);
        for (;;)
            opens(AT_FDCWD, "f", O_RDONLY);
    }
    pid_t child;
    int stop = 0;
    pthread_t reader;
    if (!strncmp(start, "spawn", 5)) {
        if (posix_spawn(&child, at("bin/narrow"), NULL, NULL, argv_narrow, environ))
            return 3;
    } else if (!strncmp(start, "script", 6) || !strncmp(start, "interpreter", 11)) {
        child = fork();
        if (child == 0) {
            const char *script = *start == 's' ? "bin/script" : "bin/plain";
            execl(at(script), "script", argv_narrow[2], argv[2], top, NULL);
            perror("exec script");
            _exit(4);
        }
    } else {
        child = fork();
        if (child == 0) {
            // What fails changes nothing.
            char *none[] = {NULL};
            execv(at("bin/none"), none);
            execv(at("bin/broken"), argv_narrow);
            if (opens(DIR_FD, "f", O_RDONLY))
                _exit(6);
            starts(NULL);
        }
    }
    if (!strncmp(start, "calm", 4))
        return ended(child);
    if (mover) {
        for (int i = 0; waitpid(child, NULL, WNOHANG) == 0; i++)
            if (rename(at(i % 2 ? "secret/d" : "open/d"), at(i % 2 ? "open/d" : "secret/d")))
                perror("rename");
        return 0;
    }
    pthread_create(&reader, NULL, reads, &stop);
    int status = ended(child);
    // As before, whatever the other was refused: but what it may do, it has done.
    stop = 1;
    pthread_join(reader, NULL);
    return status;
}
