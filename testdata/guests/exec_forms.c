/* exec_forms: every way to start a program, and every way it can fail.
 *
 * Runs in a writable directory that holds ./dyn and ./static (the guest echoargs). What the new programs print about
 * themselves is part of the comparison. With the argument "names" they print the thread's name as well. */
#include "check.h"
#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>

extern char **environ;
static char *env_small[] = {"GUEST_A=1", "PATH=/usr/bin:/bin", NULL, NULL};

/* Runs the code in a child, after a label (the new program is to end the line), and reports how it ended. */
#define CHILD(label, ...) \
    do {                                                                                                \
        printf("%s: ", label);                                                                          \
        pid_t p_ = fork_clean();                                                                        \
        if (p_ == 0) { __VA_ARGS__; printf("%s\n", errname(errno)); fflush(NULL); _exit(99); }                 \
        int st_ = 0;                                                                                    \
        waitpid(p_, &st_, 0);                                                                           \
        if (st_ && !(WIFEXITED(st_) && WEXITSTATUS(st_) == 99)) printf("%s: status %x\n", label, st_);  \
    } while (0)

#define EXEC(label, file, ...) CHILD(label, execve(file, ((char *[]){__VA_ARGS__, NULL}), env_small))

static void plain(void) {
    EXEC("dynamic", "./dyn", "dyn", "a", "b");
    EXEC("static", "./static", "static", "a");
    EXEC("other argv[0]", "./dyn", "another name", "");
    EXEC("re-exec of /proc/self/exe, dynamic", "./dyn", "dyn", "reexec");
    EXEC("re-exec of /proc/self/exe, static", "./static", "static", "reexec");
    CHILD("no argv at all", execve("./dyn", NULL, NULL));
    symlink("dyn", "link");
    EXEC("by symbolic link", "./link", "link");
    EXEC("absent", "./absent", "x");
    EXEC("empty path", "", "x");
    EXEC("through a file", "./dyn/x", "x");
    EXEC("trailing slash", "./dyn/", "x");
    EXEC("directory", "/usr", "x");
    EXEC("device", "/dev/null", "x");
    put("noexec", "#!/bin/sh\n", 0644);
    EXEC("no x bit", "./noexec", "x");
    put("empty", "", 0755);
    EXEC("empty file", "./empty", "x");
    put("text", "hello\n", 0755);
    EXEC("neither ELF nor #!", "./text", "x");
    put("elf", "\177ELF\2\1\1", 0755);
    EXEC("truncated ELF", "./elf", "x");
    CHILD("path pointer is bad", execve((char *)8, env_small, env_small));
    CHILD("argv pointer is bad", execve("./dyn", (char **)8, env_small));
    CHILD("argv string is bad", execve("./dyn", ((char *[]){(char *)8, NULL}), env_small));
    CHILD("env pointer is bad", execve("./dyn", env_small, (char **)8));
    char longname[300];
    memset(longname, 'n', 299);
    longname[299] = 0;
    EXEC("component of 299 bytes", longname, "x");
    symlink("loop", "loop");
    EXEC("symbolic link loop", "./loop", "x");
    symlink("gone", "dangling");
    EXEC("dangling link", "./dangling", "x");
}

static void scripts(void) {
    put("s1", "#!./dyn\n", 0755);
    EXEC("script", "./s1", "zero", "one", "two");
    put("s2", "#!./dyn  an argument with spaces  \nrest", 0755);
    EXEC("script with an argument", "./s2", "zero", "one");
    put("s3", "#! \t./dyn\targ", 0755);
    EXEC("script without a newline", "./s3", "zero");
    put("s4", "#!./static x\n", 0755);
    EXEC("script of a static interpreter", "./s4", "zero");
    put("s5", "#!./missing\n", 0755);
    EXEC("missing interpreter", "./s5", "zero");
    put("s6", "#!./dyn\r\n", 0755);
    EXEC("carriage return", "./s6", "zero");
    put("s7", "#!\n", 0755);
    EXEC("no interpreter named", "./s7", "zero");
    put("s8", "#!   ", 0755);
    EXEC("only spaces", "./s8", "zero");
    put("s9", "#!./noexec\n", 0755);
    EXEC("interpreter without x bit", "./s9", "zero");
    put("s10", "#!/usr\n", 0755);
    EXEC("interpreter is a directory", "./s10", "zero");
    char line[600];
    memset(line, 0, sizeof line);
    snprintf(line, sizeof line, "#!./dyn %0500d\n", 7);
    put("s11", line, 0755);
    EXEC("line longer than the buffer, argument cut", "./s11", "zero");
    memset(line, 'x', sizeof line);
    memcpy(line, "#!./", 4);
    line[599] = 0;
    put("s12", line, 0755);
    EXEC("line longer than the buffer, no end of interpreter", "./s12", "zero");
    put("c0", "#!./dyn deep\n", 0755);
    for (int i = 1; i < 8; i++) {
        char name[8], text[32];
        snprintf(name, sizeof name, "c%d", i);
        snprintf(text, sizeof text, "#!./c%d\n", i - 1);
        put(name, text, 0755);
    }
    EXEC("chain of 4 scripts", "./c3", "zero");
    EXEC("chain of 5 scripts", "./c4", "zero");
    EXEC("chain of 6 scripts", "./c5", "zero");
    symlink("s2", "sl");
    EXEC("script by symbolic link", "./sl", "zero");
    put("sh1", "#!/bin/sh\necho \"sh got $0 $# $1\"\n", 0755);
    EXEC("/bin/sh script", "./sh1", "zero", "one");
    put("sh2", "#!/usr/bin/env -S sh -u\necho \"env got $#\"\n", 0755);
    EXEC("/usr/bin/env script", "./sh2", "zero", "one");
    CHILD("execvp falls back to sh", execvp("./text2", ((char *[]){"./text2", NULL})));
    put("text2", "echo no header but run by sh\n", 0755);
    CHILD("execvp of text", execvp("./text2", ((char *[]){"./text2", NULL})));
}

static int execveat_(int dir, const char *file, char **argv, int flags) {
    return syscall(SYS_execveat, dir, file, argv, env_small, flags);
}

static void at_forms(void) {
    char *argv[] = {"zero", "one", NULL};
    int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int pathdir = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int file = open("dyn", O_RDONLY | O_CLOEXEC), pathfile = open("dyn", O_PATH | O_CLOEXEC);
    int script = open("s2", O_RDONLY | O_CLOEXEC), script_kept = open("s2", O_RDONLY);
    CHILD("execveat dirfd", execveat_(dir, "dyn", argv, 0));
    CHILD("execveat O_PATH dirfd", execveat_(pathdir, "dyn", argv, 0));
    CHILD("execveat AT_FDCWD", execveat_(AT_FDCWD, "dyn", argv, 0));
    CHILD("execveat absolute ignores the descriptor", execveat_(-7, "/bin/true", argv, 0));
    CHILD("execveat bad descriptor", execveat_(-7, "dyn", argv, 0));
    CHILD("execveat descriptor of a file", execveat_(file, "dyn", argv, 0));
    close(script_kept);
    CHILD("AT_EMPTY_PATH", execveat_(file, "", argv, AT_EMPTY_PATH));
    CHILD("AT_EMPTY_PATH, O_PATH", execveat_(pathfile, "", argv, AT_EMPTY_PATH));
    CHILD("empty path without the flag", execveat_(file, "", argv, 0));
    CHILD("AT_EMPTY_PATH of a directory", execveat_(dir, "", argv, AT_EMPTY_PATH));
    CHILD("AT_EMPTY_PATH of a close-on-exec script", execveat_(script, "", argv, AT_EMPTY_PATH));
    CHILD("AT_SYMLINK_NOFOLLOW on a link", execveat_(dir, "link", argv, AT_SYMLINK_NOFOLLOW));
    CHILD("AT_SYMLINK_NOFOLLOW on a file", execveat_(dir, "dyn", argv, AT_SYMLINK_NOFOLLOW));
    CHILD("unknown flag", execveat_(dir, "dyn", argv, 0x4));
    CHILD("fexecve", fexecve(file, argv, env_small));
    int mem = memfd_create("memory", MFD_CLOEXEC), from = open("static", O_RDONLY | O_CLOEXEC);
    char buf[65536];
    for (ssize_t n; (n = read(from, buf, sizeof buf)) > 0;)
        if (write(mem, buf, n) != n) exit(2);
    CHILD("memfd open for writing", fexecve(mem, argv, env_small));
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", mem);
    int ro = open(self, O_RDONLY | O_CLOEXEC);
    close(mem);
    /* the name a memfd shows in /proc/self/exe is the kernel's business: only the status counts here */
    CHILD("memfd", dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 1); fexecve(ro, argv, env_small));
    puts("");
    file = dup2(file, 50);              /* a fixed number, which some programs are then called by */
    snprintf(self, sizeof self, "/proc/self/fd/%d", file);
    EXEC("/proc/self/fd/N", self, "zero");
    snprintf(self, sizeof self, "/dev/fd/%d", file);
    EXEC("/dev/fd/N", self, "zero");
    close(dir), close(pathdir), close(file), close(pathfile), close(script), close(ro), close(from);
}

static void *exec_in_thread(void *arg) {
    execve("./dyn", (char *[]){"from a thread", NULL}, env_small);
    return arg;
}
static void *spin(void *arg) {
    for (;;) { struct stat st; stat("/usr", &st); }
    return arg;
}

static int spawn_failed;
static void *spawn_many(void *arg) {
    for (int i = 0; i < 40; i++) {
        pid_t p;
        int st, e = posix_spawn(&p, "/bin/true", NULL, NULL, (char *[]){"true", NULL}, environ);
        if (e || waitpid(p, &st, 0) != p || st) __atomic_fetch_add(&spawn_failed, 1, __ATOMIC_SEQ_CST);
        e = posix_spawn(&p, "/bin/absent", NULL, NULL, (char *[]){"x", NULL}, environ);
        if (e != ENOENT) __atomic_fetch_add(&spawn_failed, 1, __ATOMIC_SEQ_CST);
    }
    return arg;
}

static void threads(void) {
    CHILD("exec from a thread that is not the leader", {
        pthread_t t, others[3];
        for (int i = 0; i < 3; i++) pthread_create(&others[i], NULL, spin, NULL);
        sleep_ms(10);
        pthread_create(&t, NULL, exec_in_thread, NULL);
        pthread_join(t, NULL);
    });
    CHILD("exec from the leader of four threads", {
        pthread_t others[3];
        for (int i = 0; i < 3; i++) pthread_create(&others[i], NULL, spin, NULL);
        sleep_ms(10);
        execve("./static", (char *[]){"leader", NULL}, env_small);
    });
    printf("vfork and exec: ");
    fflush(NULL);
    pid_t p = vfork();
    if (p == 0) { execve("./dyn", (char *[]){"vforked", NULL}, env_small); _exit(99); }
    int st;
    waitpid(p, &st, 0);
    pthread_t t[4];
    for (int i = 0; i < 4; i++) pthread_create(&t[i], NULL, spawn_many, NULL);
    for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
    ok(spawn_failed == 0, "posix_spawn from four threads: %d failed", spawn_failed);
}

static void sizes(void) {
    char *big = malloc(131072 + 1);
    memset(big, 'b', 131072);
    big[131071] = 0;
    EXEC("argument of 128 KiB", "./dyn", "zero", big);
    big[131071] = 'b';
    big[131072] = 0;
    EXEC("argument of 128 KiB + 1", "./dyn", "zero", big);
    enum { MANY = 4000 };
    char **argv = malloc((MANY + 1) * sizeof *argv);
    for (int i = 0; i < MANY; i++) argv[i] = "an argument";
    argv[MANY] = NULL;
    CHILD("4000 arguments", execve("./dyn", argv, env_small));
    big[131071] = 0;
    for (int i = 1; i < MANY; i++) argv[i] = big;
    CHILD("500 MB of arguments", execve("./dyn", argv, env_small));
    char **env = malloc(2001 * sizeof *env);
    for (int i = 0; i < 2000; i++) env[i] = "FILLER=some value that is not short, times two thousand";
    env[1999] = "GUEST_LAST=1";
    env[2000] = NULL;
    CHILD("2000 variables", execve("./dyn", (char *[]){"zero", NULL}, env));
    EXEC("odd bytes", "./dyn", "\xff\xfe", "\n\t", "");
}

static void descriptors(void) {
    int kept = open("/dev/null", O_RDONLY), gone = open("/dev/null", O_RDONLY | O_CLOEXEC);
    EXEC("one descriptor kept, one close-on-exec", "./dyn", "zero");
    fcntl(gone, F_SETFD, 0);
    EXEC("both kept", "./static", "zero");
    close(kept), close(gone);
    CHILD("few descriptors allowed", {
        struct rlimit few = {4, 4};
        setrlimit(RLIMIT_NOFILE, &few);
        execve("./dyn", (char *[]){"zero", NULL}, env_small);
    });
    CHILD("signal mask survives", {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGUSR2);
        sigprocmask(SIG_BLOCK, &set, NULL);
        execve("./dyn", (char *[]){"zero", NULL}, env_small);
    });
    int w = open("static", O_WRONLY);
    EXEC("open for writing", "./static", "zero");
    close(w);
    w = open("dyn", O_WRONLY);
    EXEC("open for writing, dynamic", "./dyn", "zero");
    close(w);
    w = open("dyn", O_RDWR);
    void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, w, 0);
    close(w);
    EXEC("mapped for writing", "./dyn", "zero");
    munmap(map, 4096);
    EXEC("no more", "./dyn", "zero");
    pid_t p = fork_clean();
    if (p == 0) { execve("/bin/sleep", (char *[]){"sleep", "10", NULL}, env_small); _exit(99); }
    put("busy", "", 0755);
    int from = open("/bin/sleep", O_RDONLY), to = open("busy", O_WRONLY);
    char buf[65536];
    for (ssize_t n; (n = read(from, buf, sizeof buf)) > 0;)
        if (write(to, buf, n) != n) exit(2);
    close(from), close(to);
    kill(p, SIGKILL);
    waitpid(p, NULL, 0);
    p = fork_clean();
    if (p == 0) { execve("./busy", (char *[]){"sleep", "10", NULL}, env_small); _exit(99); }
    sleep_ms(100);
    fact_fd("writing to a running program", open("busy", O_WRONLY));
    fact("truncating a running program", truncate("busy", 0));
    fact("removing a running program", unlink("busy"));
    char exe[64], link[PATH_MAX] = "";
    snprintf(exe, sizeof exe, "/proc/%d/exe", (int)p);
    ssize_t n = readlink(exe, link, sizeof link - 1);
    ok(n > 10 && !strcmp(link + n - 10, " (deleted)"), "its exe link says (deleted)");
    kill(p, SIGKILL);
    waitpid(p, NULL, 0);
    CHILD("failed exec leaves the program as it was", {
        signal(SIGUSR1, SIG_IGN);
        execve("./absent", env_small, env_small);
        raise(SIGUSR1);
        errno = 0;
    });
}

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "names")) env_small[2] = "GUEST_NAME=1";
    syscall(SYS_close_range, 3, ~0U, 0);      /* whatever the caller left open would be counted */
    plain();
    scripts();
    at_forms();
    threads();
    sizes();
    descriptors();
    return finish();
}
