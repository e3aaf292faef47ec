/* uts: uname(2) into good and bad memory, and that nobody but the administrator names the machine. */
#include "check.h"
#include <sys/mman.h>
#include <sys/utsname.h>

int main(void) {
    struct utsname name, again;
    memset(&name, 'x', sizeof name);
    fact("uname", uname(&name));
    memset(&again, 0, sizeof again);
    fact("uname again", uname(&again));
    ok(!memcmp(&name, &again, sizeof name), "the same twice, to the last byte");
    printf("%s %s %s %s %s\n", name.sysname, name.release, name.version, name.machine, name.domainname);
    char *host = getenv("GUEST_HOST");
    ok(!host || !strcmp(host, name.nodename), "the name is %s", host ? host : "its own");
    char text[100] = "", own[66];
    int fd = open("/proc/sys/kernel/hostname", O_RDONLY);
    read(fd, text, sizeof text - 1);
    ok(lseek(fd, 0, SEEK_SET) == 0 && read(fd, own, 3) == 3, "it can be read again");
    close(fd);
    text[strcspn(text, "\n")] = 0;
    ok(!strcmp(text, name.nodename), "/proc says the same");
    ok(gethostname(own, sizeof own) == 0 && !strcmp(own, name.nodename), "and gethostname");
    fact("gethostname with no room", gethostname(own, 1));
    fact("no pointer", syscall(SYS_uname, NULL));
    fact("an address of the kernel's", syscall(SYS_uname, (void *)0xffff800000000000UL));
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(pages + 4096, 4096, PROT_READ);
    fact("half writable", syscall(SYS_uname, pages + 4000));
    fact("read-only", syscall(SYS_uname, pages + 4096));
    fact("at the end of a page", syscall(SYS_uname, pages + 4096 - sizeof name));
    fact("sethostname", sethostname("other", 5));
    fact("setdomainname", setdomainname("other", 5));
    ok(uname(&again) == 0 && !memcmp(&name, &again, sizeof name), "nothing has changed");
    return finish();
}
