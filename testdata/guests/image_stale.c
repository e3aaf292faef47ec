/* image_stale: changes FILE, a copy of itself, through a mapping, and executes it after each change.
 *
 * The kernel refuses to run what is mapped for writing (ETXTBSY). Whoever can't know that must run what the file says now. */
#include "check.h"
#include <sys/mman.h>

/* The only place where these bytes stand; volatile, or they would be put into an instruction. */
static volatile const char mark[] = "the answer is: 0";

static const char *run(const char *file, int wanted) {
    static char said[64];
    pid_t p = fork_clean();
    if (!p) {
        execl(file, "image_stale", (char *)NULL);
        _exit(errno == ETXTBSY ? 99 : 98);
    }
    int status = reap(p, 20000);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    snprintf(said, sizeof said, "%s", code == wanted ? "new" : code == 99 ? "ETXTBSY" : "");
    if (!*said) snprintf(said, sizeof said, "%d", code);
    return said;
}

int main(int argc, char **argv) {
    if (argc == 1) return mark[15] - '0';
    int fd = open(argv[1], O_RDWR);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) { perror(argv[1]); return 2; }
    char *file = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *at = memmem(file, (size_t)st.st_size, (const char *)mark, 15);
    if (file == MAP_FAILED || !at) return 2;
    close(fd);
    /* The first store tells the file's times, the later ones don't. */
    for (int answer = 1; answer < 4; answer++) {
        at[15] = (char)('0' + answer);
        for (int again = 0; again < 2; again++) {
            const char *said = run(argv[1], answer);
            ok(strcmp(said, "new") == 0 || strcmp(said, "ETXTBSY") == 0, "mapped, change %d: %s", answer,
               strcmp(said, "new") == 0 ? "ETXTBSY" : said);
            sleep_ms(250);
        }
    }
    at[15] = '4';
    munmap(file, (size_t)st.st_size);
    for (int again = 0; again < 2; again++) {
        const char *said = run(argv[1], 4);
        ok(strcmp(said, "new") == 0, "not mapped any more: %s", said);
        sleep_ms(250);
    }
    return finish();
}
