/* host_words.h: is a number of the host's anywhere in what this program has been told?
 *
 * What calls tell ends in memory: in buffers, on the stack, in what is left there of functions that have returned. So behind each
 * expectation all writable memory is searched, as numbers and as text, for what the host calls the last processes that were born, their
 * parents, this one, and sbox. The kernel tells it: it puts it into the word of a futex with priority inheritance, futex(2). Such words, and
 * libc's own of that kind, are the ones that may hold it.
 *
 * A hit is told as "# host REGION+OFFSET NAME". A word that has such a value by chance has another one of the next run's view; so what
 * two runs tell alike is no chance. */
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

enum { MASK = 0x5a5a5a5a, BORN = 8 };

struct host_words {
    atomic_uint born[BORN], next, sbox; /* masked: they must not be found here */
};
static struct host_words *host_words; /* NULL: nothing is searched */
static ptrdiff_t libcs_word;          /* from pthread_self() to where libc keeps the number of a thread */
static char *mains_word;              /* where it keeps that of the first one */
static char *frame;                   /* of main */

/* What the host calls this thread, masked. Leaves nothing behind. */
__attribute__((noinline)) static unsigned host_number(void) {
    static __thread volatile unsigned word;
    word = 0;
    if (syscall(SYS_futex, &word, FUTEX_LOCK_PI_PRIVATE, 0, NULL) < 0) return 0;
    unsigned masked = (word & FUTEX_TID_MASK) ^ MASK;
    if (syscall(SYS_futex, &word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL) < 0) return 0;
    word = 0;
    return masked;
}

static void host_born(void) {
    if (host_words) host_words->born[host_words->next++ % BORN] = host_number();
}

static int is_hosts(unsigned n, const unsigned *masked, int count) {
    for (int i = 0; i < count; i++)
        if (n && (n ^ MASK) == masked[i]) return 1;
    return 0;
}

/* Searches one region; what is found stands at these offsets. */
static int search(const char *from, const char *to, const char *base, long *found, int room, const unsigned *masked, int count) {
    const char *own = (char *)pthread_self() + libcs_word;
    int hits = 0;
    for (const char *p = from; p + 4 <= to && hits < room; p += 4)
        if (p != own && p != mains_word && is_hosts(*(const unsigned *)p, masked, count)) found[hits++] = p - base;
    unsigned n = 0;
    int digits = 0;
    for (const char *p = from; p < to && hits < room; p++) {
        if (*p >= '0' && *p <= '9') { n = n * 10 + *p - '0', digits++; continue; }
        if (digits >= 4 && digits <= 7 && is_hosts(n, masked, count)) found[hits++] = p - digits - base;
        n = digits = 0;
    }
    return hits;
}

/* Searches all memory that this process can write to, but for the stacks of other threads, which come and go. */
static void search_memory(const char *after) {
    static char maps[16384];
    static long found[8];
    unsigned masked[BORN + 2];
    int count = 0;
    if (!host_words) return;
    for (int i = 0; i < BORN; i++)
        if (host_words->born[i]) masked[count++] = host_words->born[i];
    masked[count++] = host_number();
    masked[count++] = host_words->sbox;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    for (ssize_t n; fd >= 0 && (n = read(fd, maps + len, sizeof maps - 1 - len)) > 0;) len += n;
    close(fd);
    maps[len] = 0;
    int region = 0;
    for (char *line = maps, *end; (end = strchr(line, '\n')); line = end + 1, region++) {
        unsigned long from, to;
        char mode[5];
        if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) != 3 || mode[0] != 'r' || mode[1] != 'w' || to - from > 4 << 20) continue;
        int is_stack = frame >= (char *)from && frame < (char *)to;
        const char *base = is_stack ? frame : (char *)from;
        int hits = search((char *)from, (char *)to, base, found, 8, masked, count);
        for (int i = 0; i < hits; i++)
            /* what is searched with is no result */
            if ((char *)base + found[i] < maps || (char *)base + found[i] >= maps + sizeof maps)
                printf("# host %s%d%+ld %s\n", is_stack ? "stack" : "region", is_stack ? 0 : region, found[i], after);
    }
    fflush(stdout);
    memset(maps, 0, sizeof maps);
    memset(found, 0, sizeof found);
}

/* From here on, also for the number that is this text, which is wiped. Returns 0 where the kernel tells no number. */
static int search_from_now(char *frame_of_main, char *sbox) {
    frame = frame_of_main;
    if (!host_number()) return 0;
    host_words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    host_words->sbox = (unsigned)atoi(sbox) ^ MASK;
    memset(sbox, 0, strlen(sbox));
    unsigned own = host_number();
    for (libcs_word = 0; libcs_word < 4096; libcs_word += 4) {
        mains_word = (char *)pthread_self() + libcs_word;
        if ((*(unsigned *)mains_word ^ MASK) == own) return 1;
    }
    return 0;
}

/* The expectation, and the search behind it. */
#define ok(cond, ...)                                \
    ({                                               \
        int held = (ok)(cond, __VA_ARGS__);          \
        char name[128];                              \
        snprintf(name, sizeof name, __VA_ARGS__);    \
        search_memory(name);                         \
        held;                                        \
    })
