/* race_write: writes to a descriptor that another thread exchanges all the time, a pipe for a file and back.
 *
 *   race_write FILE
 *
 * Ends when FILE is longer than 1 GiB, which the caller must have prevented, or after a minute. */
#include "check.h"
#include <pthread.h>

static int file, end, slot;
static volatile int over;

static void *exchange(void *none) {
    while (!over) {
        dup2(file, slot);
        dup2(end, slot);
    }
    return none;
}

static void *drain(void *from) {
    static char sink[1 << 20];
    while (read(*(int *)from, sink, sizeof sink) > 0) {}
    return NULL;
}

int main(int argc, char **argv) {
    static char block[1 << 20];
    int ends[2];
    pthread_t a, b;
    if (argc != 2 || pipe(ends) < 0) return 2;
    fcntl(ends[0], F_SETPIPE_SZ, 1 << 20);
    file = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0600);
    end = ends[1];
    slot = dup(end);
    pthread_create(&a, NULL, exchange, NULL);
    pthread_create(&b, NULL, drain, &ends[0]);
    long won = 0, tries = 0;
    for (long stop = now_us() + 60 * 1000000L; now_us() < stop; tries++) {
        if (write(slot, block, sizeof block) < 0) continue;
        struct stat st;
        if (fstat(file, &st) < 0 || st.st_size >> 30) break;
        if (st.st_size >> 20 > won) won = st.st_size >> 20;
    }
    over = 1;
    note("%ld tries, %ld MiB", tries, won);
    return 0;
}
