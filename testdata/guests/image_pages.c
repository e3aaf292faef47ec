/* image_pages: the kernel maps whole pages of a program, beyond what its headers describe: the file's bytes, and zeros
 * behind the file's end.
 *
 * Makes a copy of itself in which all that the headers don't describe is filled, and in which one more segment maps the last,
 * incomplete page of the file. The copy compares its own pages with its file. */
#include "check.h"
#include <elf.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#define PAGE 4096ul
#define LAST 100 /* bytes on the last page, of which the header describes half */

static char *whole(const char *path, size_t *size) {
    struct stat st;
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) < 0) { perror(path); exit(2); }
    *size = (size_t)st.st_size;
    char *bytes = calloc(1, *size + 3 * PAGE);
    if (!bytes || read(fd, bytes, *size) != st.st_size) exit(2);
    close(fd);
    return bytes;
}

static void make(const char *path) {
    size_t size;
    char *file = whole("/proc/self/exe", &size);
    Elf64_Ehdr *head = (Elf64_Ehdr *)file;
    Elf64_Phdr *all = (Elf64_Phdr *)(file + head->e_phoff), *spare = NULL;
    unsigned long top = 0;
    char *described = calloc(1, size);
    memset(described, 1, head->e_phoff + head->e_phnum * sizeof *all);
    for (int i = 0; i < head->e_phnum; i++) {
        memset(described + all[i].p_offset, 1, all[i].p_filesz);
        if (all[i].p_type == PT_LOAD && all[i].p_vaddr + all[i].p_memsz > top) top = all[i].p_vaddr + all[i].p_memsz;
        if (all[i].p_type == PT_GNU_EH_FRAME) spare = &all[i];
    }
    if (!spare) exit(2);
    for (size_t at = 0; at < size; at++)
        if (!described[at]) file[at] = 'f';
    /* Section headers are nobody's business here. */
    head->e_shoff = head->e_shnum = head->e_shstrndx = 0;
    size_t end = (size + PAGE - 1) & ~(PAGE - 1);
    memset(file + end, 'l', LAST);
    *spare = (Elf64_Phdr){.p_type = PT_LOAD, .p_flags = PF_R, .p_offset = end, .p_align = PAGE,
                          .p_vaddr = (top + 2 * PAGE) & ~(PAGE - 1), .p_filesz = LAST / 2, .p_memsz = LAST / 2};
    spare->p_paddr = spare->p_vaddr;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    if (fd < 0 || write(fd, file, end + LAST) != (ssize_t)(end + LAST)) exit(2);
    close(fd);
}

static void compare(void) {
    size_t size;
    char *file = whole("/proc/self/exe", &size);
    Elf64_Phdr *all = (Elf64_Phdr *)getauxval(AT_PHDR);
    unsigned long base = (unsigned long)all - ((Elf64_Ehdr *)file)->e_phoff;
    int pages = 0;
    for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++) {
        /* What is written to may have changed. */
        if (all[i].p_type != PT_LOAD || all[i].p_flags & PF_W) continue;
        unsigned long from = all[i].p_offset & ~(PAGE - 1);
        for (unsigned long at = from; at < all[i].p_offset + all[i].p_filesz; at += PAGE, pages++) {
            char page[PAGE];
            memcpy(page, (char *)base + (all[i].p_vaddr & ~(PAGE - 1)) + (at - from), PAGE);
            /* The program header that was rewritten for the kernel is the loader's business, and lies on the first page. */
            unsigned long differ = 0;
            for (unsigned long b = at ? 0 : ((Elf64_Ehdr *)file)->e_phoff + getauxval(AT_PHNUM) * sizeof *all; b < PAGE; b++)
                differ += page[b] != file[at + b];
            ok(differ == 0, "page %lu of segment %lu is the file's: %lu bytes differ", (at - from) / PAGE, i, differ);
        }
    }
    ok(pages > 3 && memcmp(file + (size - LAST), "llll", 4) == 0, "%d pages, the last one's too", pages);
}

int main(int argc, char **argv) {
    if (argc == 1) return compare(), finish();
    make(argv[1]);
    execl(argv[1], "copy", (char *)NULL);
    perror(argv[1]);
    return 2;
}
