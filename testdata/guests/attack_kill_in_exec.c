/* attack_kill_in_exec: kills processes in the middle of the exec of a script. No process may stay in /proc that the
 * kernel no longer has: its number can come to mean one of the host's, whose files could then be read.
 *
 *   attack_kill_in_exec ROUNDS      must say "stale entries: 0" */
/* SIGKILL while the tracer injects a call for the exec of a script */
#define _GNU_SOURCE
#include <unistd.h>
#include <stdlib.h>
#include <stdio.h>
#include <signal.h>
#include <string.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <sys/stat.h>
int main(int c,char**v){
 if(c>2){/*in the script*/}
 int f=open("/tmp/s",O_CREAT|O_WRONLY,0755);write(f,"#!/tmp/s2\n",10);close(f);
 static char*argv[2001];for(int i=0;i<2000;i++)argv[i]="x";
 f=open("/tmp/s2",O_CREAT|O_WRONLY,0755);dprintf(f,"#!%s\n","/bin/true");close(f);
 for(int i=0;i<atoi(v[1]);i++){pid_t p=fork();if(!p){execv("/tmp/s",argv);_exit(9);}usleep(rand()%4000);kill(p,SIGKILL);int st;waitpid(p,&st,0);}
 usleep(300000);DIR*d=opendir("/proc");struct dirent*e;int stale=0;while((e=readdir(d)))if(e->d_name[0]>='1'&&e->d_name[0]<='9'){int p=atoi(e->d_name);if(p!=getpid()&&kill(p,0)<0&&errno==ESRCH)stale++,printf("stale %d\n",p);}
 printf("stale entries: %d\n",stale);return 0;}
