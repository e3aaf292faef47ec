/* answer: exits with the number compiled in (ANSWER); the programs that race_open's exec mode chooses between. With BARE it
 * needs nothing of what a C library needs, so it runs as whatever the kernel takes it for. */
#ifdef BARE
void _start(void) {
    __asm__ volatile("syscall" : : "a"(231), "D"(ANSWER)); /* exit_group */
    __builtin_unreachable();
}
#else
int main(void) { return ANSWER; }
#endif
