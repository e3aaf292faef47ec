/* fsops: makes the system calls of a list, one after the other, and tells what each said.
 *
 *   fsops TOP HOME together|racing [jail] < LIST
 *
 * Each line of the list is one call: which of the PROCESSES makes it, how its result is shown, its number, its arguments.
 *
 *   0 n 83 =sub/dir 493          process 0: mkdir("sub/dir", 0755), shown as a number
 *   2 f5 257 101 =name 65 420    process 2: openat(101, "name", …); the new descriptor becomes 105
 *   1 s1 4 =name @144            process 1: stat("name", buffer of 144 bytes), shown as `struct stat` in argument 1
 *
 * An argument is a number, =TEXT (%XX is a byte), @N (room for N bytes) or :A,B,… (64-bit words). Numbers below 0 are
 * calls of our own, see own_call(). Descriptors are 100 to 100+SLOTS-1, so that their numbers are known beforehand.
 *
 * "together" passes a token from process to process, so that the order is that of the list; "racing" has none, and only
 * the tree at the end is printed. Every process starts in HOME and is sent back there if it has climbed above it; the
 * directories between TOP and HOME are a margin for single calls that climb. "jail" shows nothing but TOP and /proc, so
 * that what runs natively can do no harm. */
#include "check.h"
#include "jail.h"
#include <dirent.h>
#include <sys/mman.h>
#include <sys/statfs.h>

enum { PROCESSES = 3, SLOT = 100, SLOTS = 8, ARGS = 6, ROOM = 1 << 26, GUARD = 0x5a };

static char *top, *home;
static char *out;  /* shared by all processes: what was said so far */
static size_t *said;
static int racing;

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...) {
    va_list ap;
    if (racing) return;
    va_start(ap, fmt);
    *said += vsnprintf(out + *said, ROOM - *said, fmt, ap);
    va_end(ap);
    if (*said > ROOM - 65536) _exit(3);
}

/* Bytes as text. The number in the name of an O_TMPFILE is chance. */
static void say_bytes(const char *bytes, size_t n) {
    say("\"");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = bytes[i];
        if (c == '#' && n - i > 10) {
            say("#");
            while (i + 1 < n && bytes[i + 1] >= '0' && bytes[i + 1] <= '9') i++;
        } else if (c > 32 && c < 127 && c != '%' && c != '"') say("%c", c);
        else say("%%%02x", c);
    }
    say("\"");
}

/* Times that a call has set lie far in the past; others are chance. */
static void say_time(const char *name, long sec, long nsec) {
    if (sec < 1000000000) say(" %s %ld.%09ld", name, sec, nsec);
    else say(" %s now", name);
}

static void say_stat(const struct stat *st) {
    say(" %06o links %lu uid %d gid %d size %ld", st->st_mode, (long)st->st_nlink, st->st_uid, st->st_gid, (long)st->st_size);
    say_time("mtime", st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
    if (S_ISREG(st->st_mode)) say_time("atime", st->st_atim.tv_sec, st->st_atim.tv_nsec);
}

static void say_statx(const struct statx *st) {
    say(" mask %x %06o links %u uid %u gid %u size %llu attributes %llx/%llx", st->stx_mask, st->stx_mode, st->stx_nlink,
        st->stx_uid, st->stx_gid, (long long)st->stx_size, (long long)st->stx_attributes,
        (long long)st->stx_attributes_mask);
    say_time("mtime", st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec);
}

static void say_statfs(const struct statfs *fs) {
    say(" type %lx bsize %ld namelen %ld flags %lx", (long)fs->f_type, (long)fs->f_bsize, (long)fs->f_namelen, (long)fs->f_flags);
}

/* Records of getdents64, in the order in which they came. */
static void say_records(const char *at, long n) {
    for (const char *end = at + n; at < end;) {
        struct dirent64 *d = (void *)at;
        say(" %d", d->d_type);
        say_bytes(d->d_name, strlen(d->d_name));
        at += d->d_reclen;
    }
}

/* Replaces %XX by bytes, in place. */
static void unescape(char *text) {
    char *to = text;
    for (; *text; text++) {
        unsigned byte;
        if (*text == '%' && sscanf(text + 1, "%2x", &byte) == 1) *to++ = byte, text += 2;
        else *to++ = *text;
    }
    *to = 0;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

/* A directory's names, read with a buffer of `size` bytes, sorted; and whether every position leads where it should. */
static void list(int fd, size_t size) {
    static char buf[65536];
    char *names[4096], type[4096];
    long next[4096], n = 0, got, first = 0;
    if (lseek(fd, 0, SEEK_SET) < 0) { say(" lseek %s", errname(errno)); return; }
    while ((got = syscall(SYS_getdents64, fd, buf, size)) > 0)
        for (long at = 0; at < got && n < 4096; n++) {
            struct dirent64 *d = (void *)(buf + at);
            names[n] = strdup(d->d_name), type[n] = d->d_type, next[n] = d->d_off;
            at += d->d_reclen;
        }
    if (got < 0) first = errno;
    say(" %s %ld:", errname(first), n);
    for (long i = 0; i + 1 < n; i++) {
        struct dirent64 *d = (void *)buf;
        lseek(fd, next[i], SEEK_SET);
        if (syscall(SYS_getdents64, fd, buf, 600) <= 0 || strcmp(d->d_name, names[i + 1])) say(" LOST after %s", names[i]);
    }
    (void)type; /* shown by say_records and by the tree */
    qsort(names, n, sizeof *names, by_name);
    for (long i = 0; i < n; i++) say(" "), say_bytes(names[i], strlen(names[i])), free(names[i]);
    lseek(fd, 0, SEEK_SET);
}

/* One line for each file below the directory `dir`; what may not be entered is opened up for the moment. */
static void tree(int dir, const char *above) {
    char *names[4096], path[PATH_MAX];
    long n = 0;
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d) { say("tree %s: %s\n", above, errname(errno)); return; }
    for (struct dirent *e; (e = readdir(d)) && n < 4096;)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) names[n++] = strdup(e->d_name);
    closedir(d);
    qsort(names, n, sizeof *names, by_name);
    for (long i = 0; i < n; i++) {
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", above, names[i]);
        say("tree ");
        say_bytes(path, strlen(path));
        if (fstatat(dir, names[i], &st, AT_SYMLINK_NOFOLLOW)) { say(" %s\n", errname(errno)); continue; }
        say_stat(&st);
        if (S_ISLNK(st.st_mode)) {
            char text[PATH_MAX];
            long len = readlinkat(dir, names[i], text, sizeof text);
            say(" "), say_bytes(text, len < 0 ? 0 : len);
        }
        say("\n");
        if (S_ISDIR(st.st_mode)) {
            fchmodat(dir, names[i], 0700, 0);
            int sub = openat(dir, names[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
            if (sub < 0) say("tree %s: %s\n", path, errname(errno));
            else tree(sub, path), close(sub);
            fchmodat(dir, names[i], st.st_mode & 07777, 0);
        }
        free(names[i]);
    }
}

/* What is not one system call: -1 list(fd, size). */
static long own_call(long nr, const long *arg) {
    if (nr == -1) list(arg[0], arg[1]);
    return 0;
}

/* True if this process's descriptor or working directory lies above HOME. */
static int outside(const char *link) {
    char at[PATH_MAX + 1];
    long n = readlink(link, at, PATH_MAX);
    if (n < 0 || at[0] != '/') return 0;
    at[n] = 0;
    size_t len = strlen(home);
    return strncmp(at, home, len) || (at[len] && at[len] != '/');
}

/* A new descriptor goes to its slot. */
static void keep(int fd, int slot) {
    char link[64];
    struct stat st;
    int cloexec = fcntl(fd, F_GETFD);
    dup2(fd, slot);
    close(fd);
    say(" fd %o %d", fcntl(slot, F_GETFL), cloexec);
    snprintf(link, sizeof link, "/proc/self/fd/%d", slot);
    if (fstat(slot, &st) == 0 && S_ISDIR(st.st_mode) && outside(link)) close(slot), say(" outside");
}

static void call(char *line) {
    long arg[ARGS] = {0}, nr, words[ARGS][8];
    char *room[ARGS] = {0}, show = line[0];
    long size[ARGS] = {0};
    int which = atoi(strtok(line, " ") + 1), n = 0;
    nr = atol(strtok(NULL, " "));
    for (char *a; n < ARGS && (a = strtok(NULL, " ")); n++) {
        if (*a == '=') unescape(a), arg[n] = (long)(a + 1);
        else if (*a == ':') {
            int w = 0;
            for (char *at = a; w < 8 && *at; w++) words[n][w] = strtol(at + 1, &at, 10);
            arg[n] = (long)words[n];
        } else if (*a == '@') {
            size[n] = atol(a + 1);
            room[n] = malloc(size[n] + 8);
            memset(room[n], GUARD, size[n] + 8);
            arg[n] = (long)room[n];
        } else arg[n] = atol(a);
    }
    long r;
    int error, tries = 0;
    do {
        errno = 0;
        r = nr < 0 ? own_call(nr, arg) : syscall(nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
        error = errno;
        /* openat2(2) says "try again" when anybody on this machine renames something meanwhile. */
    } while (nr == SYS_openat2 && r == -1 && error == EAGAIN && ++tries < 1000);
    if (r == -1) say("%s", errname(error));
    else if (show == 'f') keep(r, SLOT + which);
    else {
        say("%ld", r);
        char *buf = room[which];
        if (show == 'b') say(" "), say_bytes(buf, r < size[which] ? r : size[which]);
        if (show == 's') say_stat((void *)buf);
        if (show == 'x') say_statx((void *)buf);
        if (show == 'v') say_statfs((void *)buf);
        if (show == 'd') say_records(buf, r);
        if ((nr == SYS_chdir || nr == SYS_fchdir) && outside("/proc/self/cwd")) chdir(home), say(" outside");
    }
    for (int i = 0; i < ARGS; i++) {
        if (room[i] && room[i][size[i]] != GUARD) say(" OVERRUN");
        free(room[i]);
    }
    say("\n");
}

static char *read_all(void) {
    size_t size = 0, room = 1 << 20;
    char *text = malloc(room);
    for (ssize_t n; (n = read(0, text + size, room - size - 1)) > 0; size += n)
        if (room - size < 65536) text = realloc(text, room *= 2);
    text[size] = 0;
    return text;
}

int main(int argc, char **argv) {
    check(argc > 3, "usage: fsops TOP HOME together|racing [jail] < LIST");
    int token[PROCESSES][2], count = 0;
    char **lines = NULL;
    top = argv[1];
    home = argv[2];
    racing = !strcmp(argv[3], "racing");
    signal(SIGPIPE, SIG_IGN);
    alarm(100);
    for (char *line = read_all(), *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        if (count % 1024 == 0) lines = realloc(lines, (count + 1024) * sizeof *lines);
        lines[count++] = line;
    }
    if (argc > 4) enter_jail(top);
    drop_capabilities();
    check(chdir(home) == 0, home);
    int start = open(".", O_RDONLY | O_DIRECTORY);
    umask(022);
    said = mmap(NULL, ROOM + 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(said != MAP_FAILED, "mmap");
    out = (char *)said + 4096;
    for (int p = 0; p < PROCESSES; p++) check(pipe2(token[p], O_CLOEXEC) == 0, "pipe");
    for (int me = 0; me < PROCESSES; me++) {
        if (fork_clean()) continue;
        alarm(90);
        char byte = 0;
        for (int i = 0; i < count; i++) {
            int before = i ? lines[i - 1][0] - '0' : -1;
            if (lines[i][0] - '0' != me) continue;
            if (!racing && before != me && before >= 0) read(token[me][0], &byte, 1);
            call(strdup(lines[i] + 2));
            int next = i + 1 < count ? lines[i + 1][0] - '0' : me;
            if (!racing && next != me) write(token[next][1], &byte, 1);
        }
        _exit(0);
    }
    for (int p = 0, st; p < PROCESSES; p++)
        if (wait(&st) < 0 || st) fprintf(stderr, "a process ended with status %#x\n", st), exit(2);
    racing = 0;
    fchmod(start, 0700);
    tree(start, "");
    for (size_t at = 0; at < *said;) {
        ssize_t n = write(1, out + at, *said - at);
        check(n > 0, "write");
        at += n;
    }
    return 0;
}
