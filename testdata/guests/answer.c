/* answer: exits with the number compiled in (ANSWER); the programs that race_open's exec mode chooses between. */
int main(void) { return ANSWER; }
