/* attack_image: in a root of its own libc, what the kernel is given in a program's place is exchanged, changed or kept.
 *
 *   attack_image MODE PROGRAM HIDDEN SECRET ROUNDS    runs in a writable directory. PROGRAM is a dynamic program that
 *                                                     exits with 7; HIDDEN a path of the host, not in the view, of a
 *                                                     static program that exits with 66; SECRET a part of the root's
 *                                                     path on the host
 *
 * MODE swap: another process with the same descriptors puts a program with HIDDEN for an interpreter in the place of each.
 * MODE header: the file gets HIDDEN for an interpreter, and loses it, all the time.
 * MODE steal: another process with the same descriptors takes each, and tries to change what it is. */
#include "check.h"
#include <elf.h>
#include <sched.h>
#include <sys/mman.h>

enum { LOW = 10, HIGH = 16 };

static char *bytes;
static size_t size;

static void write_all(const char *path, mode_t mode) {
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size || fchmod(fd, mode) < 0) exit(2);
    close(fd);
}

/* A process with the same table of descriptors. */
static pid_t sibling(void) {
    fflush(NULL);
    return syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
}

static void swapper(int evil) {
    for (unsigned i = 0;; i++) {
        for (int fd = LOW; fd < HIGH; fd++) dup3(evil, fd, O_CLOEXEC);
        for (volatile int k = rand() % 3000; k > 0; k--) {}
        for (int fd = LOW; fd < HIGH; fd++) close(fd);
        for (volatile int k = rand() % 30000; k > 0; k--) {}
    }
}

static void flipper(Elf64_Phdr plain, Elf64_Phdr evil, off_t at) {
    for (unsigned i = 0;; i++) {
        int fd = open("program", O_WRONLY); /* ETXTBSY while it runs */
        if (fd < 0) continue;
        pwrite(fd, i % 2 ? &plain : &evil, sizeof plain, at);
        close(fd);
        for (volatile int k = rand() % 60000; k > 0; k--) {}
    }
}

static volatile int *shared; /* what the thief has got: files, then leaks, then changes */

static void thief(const char *secret) {
    size_t length = strlen(secret);
    char *copy = malloc(1 << 20);
    for (;;) {
        for (int fd = LOW; fd < HIGH; fd++) {
            struct stat st;
            if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (st.st_mode & 0777) == 0) continue;
            int mine = fcntl(fd, F_DUPFD_CLOEXEC, 30);
            if (mine < 0 || fstat(mine, &st) < 0 || !S_ISREG(st.st_mode)) { close(mine); continue; }
            shared[0]++;
            ssize_t n = pread(mine, copy, 1 << 20, 0);
            for (ssize_t i = 0; i + (ssize_t)length <= n; i++)
                if (copy[i] == secret[0] && !memcmp(copy + i, secret, length)) shared[1]++;
            char path[64];
            snprintf(path, sizeof path, "/proc/self/fd/%d", mine);
            int again = open(path, O_RDWR | O_CLOEXEC);
            char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0);
            if (map != MAP_FAILED) { *(volatile char *)map = 1; shared[2]++; }
            if (pwrite(mine, "x", 1, 0) > 0 || pwrite(again, "x", 1, 0) > 0) shared[2]++;
            if (ftruncate(again, 0) == 0 || truncate(path, 0) == 0 || fallocate(again, 3, 0, 4096) == 0) shared[2]++;
            fchmod(mine, shared[0] % 2 ? 0 : 0777);
            if (shared[0] % 3) close(again);       /* else it stays open for writing */
            if (shared[0] % 200 == 0) for (int k = 30; k < 900; k++) close(k);
            close(mine);
        }
    }
}

/* The wait status of an exec of the program by a process with the same descriptors. */
static int run(void) {
    pid_t p = sibling();
    if (p == 0) {
        char *args[] = {"program", NULL}, *env[] = {NULL};
        execve("./program", args, env);
        _exit(100);
    }
    int status;
    waitpid(p, &status, 0);
    return status;
}

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    const char *mode = argv[1], *hidden = argv[3], *secret = argv[4];
    struct stat st;
    int fd = open(argv[2], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) return 2;
    size = st.st_size + strlen(hidden) + 1;
    bytes = calloc(1, size);
    if (read(fd, bytes, st.st_size) != st.st_size) return 2;
    close(fd);
    strcpy(bytes + st.st_size, hidden);
    write_all("program", 0755);
    Elf64_Ehdr *elf = (void *)bytes;
    Elf64_Phdr *headers = (void *)(bytes + elf->e_phoff), *other = headers, plain = *headers, evil = plain;
    evil.p_type = PT_INTERP;
    evil.p_offset = st.st_size;
    evil.p_filesz = evil.p_memsz = strlen(hidden) + 1;
    if (!ok(plain.p_type == PT_PHDR, "the first header can be spared")) return finish();
    *other = evil;
    write_all("evil", 0755);
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    syscall(SYS_close_range, 3, ~0U, 0);
    for (int n = 3; n < LOW; n++)
        if (open("/dev/null", O_RDONLY | O_CLOEXEC) != n) return 2;
    int status = run();
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 7, "the program itself is run (%x)", status);
    close(3);
    int evil_fd = open("evil", O_RDONLY | O_CLOEXEC);
    pid_t attacker = sibling();
    if (attacker == 0) {
        if (!strcmp(mode, "swap")) swapper(evil_fd);
        if (!strcmp(mode, "header")) flipper(plain, evil, elf->e_phoff);
        if (!strcmp(mode, "steal")) thief(secret);
        _exit(0);
    }
    int ran = 0, killed = 0, failed = 0, strange = 0;
    for (int i = atoi(argv[5]); i > 0 && !strange; i--) {
        status = run();
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) killed++;
        else if (WIFEXITED(status) && WEXITSTATUS(status) == 7) ran++;
        else if (WIFEXITED(status) && WEXITSTATUS(status) == 100) failed++;
        else strange = status;
    }
    kill(attacker, SIGKILL);
    waitpid(attacker, NULL, 0);
    ok(strange == 0, "nothing else is ever run (%x)", strange);
    ok(ran > 0, "the program is");
    if (!strcmp(mode, "steal")) {
        ok(shared[0] > 0, "some are taken");
        ok(shared[1] == 0, "none tells of the host (%d)", shared[1]);
        ok(shared[2] == 0, "none can be changed (%d)", shared[2]);
        for (int i = 0; i < 5; i++) status |= run();
        ok(WIFEXITED(status) && WEXITSTATUS(status) == 7, "the program is run as before (%x)", status);
    }
    note("%s: ran %d, killed %d, failed %d, taken %d", mode, ran, killed, failed, shared[0]);
    return finish();
}
