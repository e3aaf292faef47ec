/* attack_kill_in_fork: kills processes in the middle of fork(2); the run must end all the same.
 *
 *   attack_kill_in_fork ROUNDS */
/* SIGKILL a process in fork */
#define _GNU_SOURCE
#include <unistd.h>
#include <stdlib.h>
#include <stdio.h>
#include <signal.h>
#include <sys/wait.h>
int main(int c,char**v){for(int i=0;i<atoi(v[1]);i++){pid_t p=fork();if(!p){signal(SIGCHLD,SIG_IGN);for(;;)if(!fork())_exit(0);}usleep(1000+rand()%3000);kill(p,SIGKILL);waitpid(p,0,0);}
 usleep(300000);puts("done");return 0;}
