/* hostile_elf: programs with headers that no linker makes. Each is executed once; how that ends must be what the kernel
 * makes of it.
 *
 *   hostile_elf PROGRAM [SEED COUNT]    runs in a writable directory. PROGRAM is a dynamic program that exits with 7.
 *                                       With SEED and COUNT: as many random changes of the headers instead. */
#include "check.h"
#include <elf.h>
#include <sys/resource.h>

static char *bytes;
static size_t size;
static Elf64_Ehdr *elf;
static Elf64_Phdr *headers, *interp;
static Elf64_Ehdr elf_before;
static char before[8192];

static void write_all(const char *path, const char *data, size_t length, mode_t mode) {
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
    if (fd < 0 || write(fd, data, length) != (ssize_t)length || fchmod(fd, mode) < 0) exit(2);
    close(fd);
}

/* How an exec of the changed program ends. */
static int run(const char *how, char *said, size_t room) {
    write_all("changed", bytes, size, 0755);
    pid_t p = fork_clean();
    if (p == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        alarm(10);
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 1), dup2(null, 2);
        char *none_[] = {"changed", NULL}, *env[] = {NULL};
        execve("./changed", none_, env);
        _exit(200 + (errno == ENOENT ? 0 : errno % 50));
    }
    int status;
    waitpid(p, &status, 0);
    if (WIFSIGNALED(status)) snprintf(said, room, "%s: signal %d", how, WTERMSIG(status));
    else if (WEXITSTATUS(status) >= 200) snprintf(said, room, "%s: errno %s", how, WEXITSTATUS(status) == 200 ? "ENOENT" : errname(WEXITSTATUS(status) - 200));
    else snprintf(said, room, "%s: exit %d", how, WEXITSTATUS(status));
    memcpy(bytes, before, sizeof before < size ? sizeof before : size);
    return status;
}

#define TRY(how, ...)                \
    do {                             \
        char said_[200];             \
        __VA_ARGS__;                 \
        run(how, said_, sizeof said_); \
        puts(said_);                 \
    } while (0)

/* Names another interpreter: the text is put where the old one is, if it fits. */
static void name(const char *path) {
    memcpy(bytes + interp->p_offset, path, strlen(path) + 1);
    interp->p_filesz = interp->p_memsz = strlen(path) + 1;
}

static Elf64_Phdr *first(unsigned type) {
    for (int i = 0; i < elf->e_phnum; i++)
        if (headers[i].p_type == type) return &headers[i];
    exit(2);
}

static void listed(void) {
    Elf64_Phdr *load = first(PT_LOAD);
    TRY("unchanged", );
    TRY("no such table", elf->e_phoff = 1UL << 40);
    TRY("table at the end of all", elf->e_phoff = ~0UL - 8);
    TRY("no headers", elf->e_phnum = 0);
    TRY("too many headers", elf->e_phnum = 65535);
    TRY("1170 headers, more than the file has", elf->e_phnum = 1170);
    TRY("small entries", elf->e_phentsize = 32);
    TRY("another machine", elf->e_machine = EM_AARCH64);
    TRY("an object file", elf->e_type = ET_REL);
    TRY("interpreter of no length", interp->p_filesz = 0);
    TRY("interpreter of one byte", interp->p_filesz = 1);
    TRY("interpreter of 4097 bytes", interp->p_filesz = 4097);
    TRY("interpreter without an end", interp->p_filesz -= 1);
    TRY("interpreter behind the file", interp->p_offset = size + 4096);
    TRY("interpreter at a negative place", interp->p_offset = ~0UL);
    TRY("interpreter with more than one end", interp->p_filesz += 1);
    TRY("two interpreters", *first(PT_NOTE) = *interp);
    TRY("absent interpreter", name("/absent"));
    TRY("a directory", name("/usr"));
    TRY("through a file", name("./text/x"));
    TRY("a text", name("./text"));
    TRY("a script", name("./script"));
    TRY("not executable", name("./closed"));
    TRY("a link to itself", name("./loop"));
    TRY("a device", name("/dev/null"));
    TRY("the program itself", name("./changed"));
    TRY("an empty name", name(""));
    TRY("a named pipe", name("./pipe"));
    TRY("the loader by a relative path", name("./ld"));
    TRY("memory beyond all", load->p_memsz = ~0UL);
    TRY("more in the file than in memory", load->p_filesz = load->p_memsz + 1);
    TRY("file part beyond all", load->p_filesz = load->p_memsz = 1UL << 46);
    TRY("file part behind the file", load->p_offset = 1UL << 30);
    TRY("negative place in the file", load->p_offset = ~0xfffUL);
    TRY("address in the kernel", load->p_vaddr = 0xffff800000000000UL);
    TRY("address at the very end", load->p_vaddr = ~0xfffUL);
    TRY("address and place don't agree", load->p_vaddr += 1);
    TRY("odd alignment", load->p_align = 4097);
    TRY("entry nowhere", elf->e_entry = 1UL << 46);
    TRY("linked for an address of the kernel", elf->e_type = ET_EXEC; load->p_vaddr = 0xffffffffff600000UL);
    TRY("property behind the file", first(PT_GNU_PROPERTY)->p_offset = 1UL << 50);
    TRY("executable stack", first(PT_GNU_STACK)->p_flags |= PF_X);
    size_t all = size;
    TRY("only the ELF header", size = 64);
    size = all;
    TRY("half a table", size = elf->e_phoff + 100);
    size = all;
    TRY("half a program", size = all / 2);
    size = all;
}

static void drawn(unsigned seed, int count) {
    srand(seed);
    int ended[3] = {0};
    size_t table = elf->e_phnum * sizeof *headers;
    for (int i = 0; i < count; i++) {
        char said[200];
        for (int n = 1 + rand() % 3; n > 0; n--) {
            static const unsigned char odd[] = {0, 1, 0x7f, 0x80, 0xff};
            size_t at = rand() % 4 ? elf_before.e_phoff + rand() % table : 16 + (size_t)rand() % 48;
            bytes[at] = rand() % 2 ? odd[rand() % 5] : rand();
        }
        int status = run("", said, sizeof said);
        ended[WIFSIGNALED(status) ? 0 : WEXITSTATUS(status) >= 200 ? 1 : 2]++;
    }
    note("seed %u: %d killed, %d refused, %d ran", seed, ended[0], ended[1], ended[2]);
    ok(ended[1] > count / 20 && ended[2] > count / 20, "some are refused, some run");
}

int main(int argc, char **argv) {
    struct stat st;
    int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (argc < 2 || fd < 0 || fstat(fd, &st) < 0) return 2;
    size = st.st_size;
    bytes = malloc(size + 4096);
    if (read(fd, bytes, size) != (ssize_t)size) return 2;
    close(fd);
    elf = (void *)bytes;
    headers = (void *)(bytes + elf->e_phoff);
    elf_before = *elf;
    memcpy(before, bytes, sizeof before);
    interp = first(PT_INTERP);
    symlink(bytes + interp->p_offset, "ld");
    put("text", "hello\n", 0755);
    put("script", "#!/bin/sh\nexit 9\n", 0755);
    put("closed", "", 0644);
    symlink("loop", "loop");
    mkfifo("pipe", 0755);
    if (argc > 3) drawn(atoi(argv[2]), atoi(argv[3]));
    else listed();
    write_all("changed", bytes, size, 0755);
    char said[200];
    ok(WEXITSTATUS(run("", said, sizeof said)) == 7, "the program still runs");
    return finish();
}
