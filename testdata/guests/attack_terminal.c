/* attack_terminal: the number of a closed pseudo-terminal comes to mean a terminal of the host.
 *
 *   attack_terminal HIGHEST
 *
 * Opens terminals and closes them, writes their numbers to the file "closed" in the current directory and waits for the
 * file "go", before which the host opens terminals of its own, then opens /dev/pts/0..HIGHEST again. All must fail. */
#include "check.h"
#include <sys/ioctl.h>

enum { COUNT = 8 };

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    char mine[COUNT * 12];
    int masters[COUNT], at = 0, opened = 0, number;
    for (int i = 0; i < COUNT; i++) {
        masters[i] = open("/dev/ptmx", O_RDWR | O_NOCTTY);
        if (!ok(!ioctl(masters[i], TIOCGPTN, &number), "a terminal")) return finish();
        at += sprintf(mine + at, "%d\n", number);
    }
    for (int i = 0; i < COUNT; i++) close(masters[i]);
    put("unfinished", mine, 0600);
    rename("unfinished", "closed");
    for (int i = 0; access("go", F_OK) && i < 1000; i++) sleep_ms(10);
    char path[64];
    for (int i = 0; i <= atoi(argv[1]); i++) {
        sprintf(path, "/dev/pts/%d", i);
        int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
        if (fd < 0) continue;
        note("OPENED %s", path);
        opened++;
        close(fd);
    }
    ok(opened == 0, "%d terminals opened", opened);
    return finish();
}
